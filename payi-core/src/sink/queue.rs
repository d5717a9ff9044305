//! The hand-over from callers to the writer: bounded, and never a wait for the caller.
//!
//! A caller pays for one slot of a lock-free ring (the standard library's bounded channel) and a few
//! relaxed operations. The writer naps instead of blocking in the channel, so that callers do not pay for
//! waking it; only a writer that has found nothing for a while is woken.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::Thread,
};

use crate::{
    defect::Defect,
    error::say,
    events::{Event, Opening, Sink, UnderWay, Unread},
    sink::losses::{LossReason, Losses},
};

/// So many bytes of answers may wait to be read by the writer; beyond them callers read their own.
const UNREAD: usize = 4 * 1024 * 1024;

/// What callers hand over.
#[derive(Debug)]
pub(crate) enum Message {
    Event(Box<Event>),
    Unread(Unread),
    Opening(Box<Opening>),
    UnderWay(UnderWay),
}

impl Message {
    /// Whether it is the end of an attempt, which is lost if nobody writes it.
    pub(crate) const fn is_end(&self) -> bool {
        match self {
            Self::Event(_) | Self::Unread(_) => true,
            Self::Opening(_) | Self::UnderWay(_) => false,
        }
    }
}

/// The callers' end.
#[derive(Debug)]
pub(crate) struct Queue {
    sender: SyncSender<Message>,
    writer: OnceLock<Thread>,
    asleep: AtomicBool,
    closed: AtomicBool,
    /// What comes after the end has been complained about.
    complained: AtomicBool,
    capacity: usize,
    recorded: AtomicU64,
    /// Bytes of answers that wait.
    unread: AtomicUsize,
    pub(crate) losses: Losses,
}

impl Queue {
    /// A queue for `capacity` messages, and the writer's end of it.
    pub(crate) fn new(capacity: usize) -> (Self, Receiver<Message>) {
        let (sender, receiver) = sync_channel(capacity);
        let queue = Self {
            sender,
            writer: OnceLock::new(),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            complained: AtomicBool::new(false),
            capacity,
            recorded: AtomicU64::new(0),
            unread: AtomicUsize::new(0),
            losses: Losses::default(),
        };
        (queue, receiver)
    }

    /// Says whose nap is to be ended.
    pub(crate) fn belongs_to(&self, writer: Thread) {
        let _ = self.writer.set(writer);
    }

    /// Whether the writer has settled down. A caller that misses the change costs one nap, at most.
    pub(crate) fn set_asleep(&self, asleep: bool) {
        self.asleep.store(asleep, Relaxed);
    }

    /// Ends the writer's nap.
    pub(crate) fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// From now on everything is refused.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// How many messages it holds at most: who has received as many has seen all that were in it before.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many events were taken.
    pub(crate) fn recorded(&self) -> u64 {
        self.recorded.load(Relaxed)
    }

    /// Reads an answer that was handed over; `None` if its call goes on, and its event will come, or if it cannot be
    /// read, which hurts no other event.
    pub(crate) fn read(&self, answer: Unread) -> Option<Event> {
        self.unread.fetch_sub(answer.bytes(), Relaxed);
        match answer.try_read() {
            Ok(Some(event)) => return Some(event),
            Ok(None) => drop(self.recorded.fetch_sub(1, Relaxed)),
            Err(Defect) => self.losses.add(LossReason::Defect, 1),
        }
        None
    }

    /// Reads an answer on the caller's task.
    #[cold]
    fn read_here(&self, answer: Unread) {
        if answer.read_for(self).is_err() {
            self.recorded.fetch_add(1, Relaxed);
            self.losses.add(LossReason::Defect, 1);
        }
    }

    /// Hands over the end of an attempt; whether there was room for it.
    fn end(&self, message: Message) -> bool {
        // Before the writer can have it, who may find that it is no end.
        self.recorded.fetch_add(1, Relaxed);
        match self.send(message) {
            Ok(()) => true,
            Err(reason) => {
                self.recorded.fetch_sub(1, Relaxed);
                self.losses.add(reason, 1);
                if reason == LossReason::AfterShutdown && !self.complained.swap(true, Relaxed) {
                    say!(warn, target: "payi",
                            "payi was shut down: calls that end now are not recorded; keep the guard until the end of `main`");
                }
                false
            }
        }
    }

    fn send(&self, message: Message) -> Result<(), LossReason> {
        if self.closed.load(Relaxed) {
            return Err(LossReason::AfterShutdown);
        }
        self.sender.try_send(message).map_err(|e| match e {
            TrySendError::Full(_) => LossReason::QueueFull,
            TrySendError::Disconnected(_) => LossReason::AfterShutdown,
        })?;
        if self.asleep.load(Relaxed) {
            self.wake();
        }
        Ok(())
    }
}

impl Sink for Queue {
    /// An opening that finds no room is not a loss: the event itself will still come.
    fn open(&self, opening: Opening) {
        let _ = self.send(Message::Opening(Box::new(opening)));
    }

    fn open_unread(&self, attempt: UnderWay) {
        let _ = self.send(Message::UnderWay(attempt));
    }

    fn record(&self, event: Event) {
        self.end(Message::Event(Box::new(event)));
    }

    fn record_unread(&self, answer: Unread) {
        let bytes = answer.bytes();
        if self.unread.load(Relaxed) + bytes > UNREAD {
            return self.read_here(answer);
        }
        self.unread.fetch_add(bytes, Relaxed);
        if !self.end(Message::Unread(answer)) {
            self.unread.fetch_sub(bytes, Relaxed);
        }
    }
}
