//! An attempt from its start: who it is for, and what is asked, and, as it goes on, how it has gone. Whoever follows it
//! shares it with the note that it is under way.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Instant, SystemTime},
};

use uuid::Uuid;

use crate::{
    clients::{
        call::{Course, Held},
        detect::Endpoint,
        receipt::Receipt,
    },
    context::{Context, Text},
    events::{Exchange, Opening, Opens, Pipeline},
    pricing::Cost,
    usage::{Bucket, Usage, sample::Prompt},
};

/// As what a call is priced, instead of what it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct PriceAs {
    /// Pay-i's category (`system.openai`).
    pub(crate) category: Option<Text>,
    /// The model.
    pub(crate) resource: Option<Text>,
}

impl PriceAs {
    /// What the scope of a call says of it.
    pub(crate) fn of(context: &Context) -> Self {
        context.look(|keys| {
            let (category, resource) = keys.price_as();
            Self { category, resource }
        })
    }
}

/// Which attempt of which call: for clients that repeat a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat {
    pub(crate) call_id: Option<Uuid>,
    pub(crate) attempt: u32,
}

impl Repeat {
    pub(crate) const NONE: Self = Self { call_id: None, attempt: 1 };
}

/// What is known of a call before it is sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) endpoint: Arc<Endpoint>,
    said: OnceLock<Box<Said>>,
    /// A sample of what was asked, in case that nobody says how much that was; all of it, where it is yet to be read.
    pub(crate) prompt: Option<Prompt>,
    /// What Pay-i keeps of the exchange, if anybody wants it kept.
    pub(crate) exchange: Option<Box<Exchange>>,
}

/// What a request says; and its scope, of its price.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) model: Option<Text>,
    pub(crate) price_as: PriceAs,
    /// Size and quality of the pictures asked for, where their price depends on them.
    pub(crate) picture: Option<Box<str>>,
    /// What is billed by the request, unless the answer says something else.
    pub(crate) billed: Option<(Bucket, u64)>,
}

impl Request {
    /// One that has been read.
    pub(crate) fn read(endpoint: Arc<Endpoint>, said: Said) -> Self {
        Self { endpoint, said: OnceLock::from(Box::new(said)), prompt: None, exchange: None }
    }

    /// One that is read when somebody asks what it says; `prompt` is all of it.
    #[cfg(feature = "_http")]
    #[inline]
    pub(crate) const fn unread(endpoint: Arc<Endpoint>, prompt: Prompt) -> Self {
        Self { endpoint, said: OnceLock::new(), prompt: Some(prompt), exchange: None }
    }

    /// What is billed by it, as far as that is known without reading it.
    #[cfg(feature = "_http")]
    pub(crate) fn billed(&self) -> Option<(Bucket, u64)> {
        self.said.get()?.billed
    }

    /// What it says, in `context`.
    pub(crate) fn said(&self, context: &Context) -> &Said {
        if let Some(said) = self.said.get() {
            return said;
        }
        #[cfg(feature = "_http")]
        let model = self.prompt.as_ref().and_then(|all| crate::clients::request::model(all.head()));
        #[cfg(not(feature = "_http"))]
        let model = None;
        let said = Said::of(&self.endpoint, model, PriceAs::of(context));
        // Read before the cell is locked: a caller who ends his call now does not wait for the thread that notes it.
        self.said.get_or_init(|| Box::new(said))
    }
}

impl Said {
    /// What a request to `endpoint` says whose body names `model`.
    pub(crate) fn of(endpoint: &Endpoint, model: Option<Text>, price_as: PriceAs) -> Self {
        let model = model.or_else(|| endpoint.model.clone());
        Self { model, price_as, picture: None, billed: None }
    }
}

/// An attempt as it began, and how it has gone since.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) context: Context,
    pub(super) id: Uuid,
    pub(super) repeat: Repeat,
    pub(super) started_at: SystemTime,
    pub(super) started: Instant,
    pub(super) request: Request,
    /// What limits have reserved for it.
    pub(super) estimate: Option<Box<(Usage, Cost)>>,
    /// How it has gone since; `None` once that is all told. It is in the same place, so that what follows the attempt is
    /// one pointer, and the thread that reads its answer has one thing to give back to the allocator.
    course: Mutex<Option<Course>>,
}

impl Start {
    #[inline]
    pub(super) fn new(
        pipeline: Arc<Pipeline>,
        context: Context,
        mut request: Request,
        repeat: Repeat,
        (started_at, started): (SystemTime, Instant),
        held: Option<Box<Held>>,
    ) -> Self {
        let id = pipeline.clock.id(started_at);
        let reserved = held.as_ref().filter(|held| held.hold.reserves());
        let estimate = reserved.map(|held| Box::new((held.estimate.usage, held.estimate.cost)));
        let course = Course {
            exchange: request.exchange.take(),
            status: None,
            streamed: false,
            first: None,
            ended: None,
            shown: false,
            #[cfg(feature = "tracing")]
            sent: None,
            receipt: Some(Receipt::new(id)),
            held,
            #[cfg(feature = "_http")]
            unread: None,
        };
        let course = Mutex::new(Some(course));
        Self { pipeline, context, id, repeat, started_at, started, request, estimate, course }
    }

    pub(super) fn course(&self) -> MutexGuard<'_, Option<Course>> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how it has gone on, unless it is over.
    #[inline]
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Course) -> T) -> Option<T> {
        self.course().as_mut().map(change)
    }

    /// What its request says.
    pub(super) fn said(&self) -> &Said {
        self.request.said(&self.context)
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.request.endpoint
    }

    /// The id of its call: that of the call's first attempt.
    pub(super) fn call_id(&self) -> Uuid {
        self.repeat.call_id.unwrap_or(self.id)
    }
}

impl Opens for Start {
    fn opening(&self) -> Opening {
        let Endpoint { provider, operation, category, .. } = self.endpoint();
        Opening {
            id: self.id,
            call_id: self.call_id(),
            attempt: self.repeat.attempt,
            context: self.context.clone(),
            provider: provider.clone(),
            operation: operation.clone(),
            category: category.clone(),
            request_model: self.said().model.clone(),
            started_at: self.started_at,
            estimate: self.estimate.clone(),
        }
    }
}
