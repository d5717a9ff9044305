//! The rules by which an inner scope inherits from an outer one.
//!
//! Scopes are applied from the outermost inwards. A single value replaces what is there, a list adds to
//! it, a map lays its keys over it, `Clear` empties it. The use case is a group: a name that differs
//! from the open one starts clean, with a fresh id; the same name goes on with the open one; a cleared
//! name closes it; its other keys mean nothing where none is open.

use crate::context::{Frame, Key, Resolved, Text, UseCase, entry::Entry, resolved::Properties, slot::Slot};

/// What `frame`, and `base` under its outermost scope, say together.
pub(crate) fn resolve(frame: Option<&Frame>, base: Option<&Frame>) -> Resolved {
    merged(frame, base).finish()
}

/// The same, without a copy of any of it.
pub(crate) fn merged<'f>(frame: Option<&'f Frame>, base: Option<&'f Frame>) -> Merged<'f> {
    let mut merged = Merged::default();
    match frame {
        Some(frame) => merged.outermost_first(frame, base),
        None => base.into_iter().for_each(|base| merged.apply(base)),
    }
    merged
}

/// What the scopes so far say; borrowed from them, because most of it is replaced further in.
#[derive(Default)]
pub(crate) struct Merged<'f> {
    user_id: Option<&'f Slot>,
    account_name: Option<&'f Slot>,
    price_as_category: Option<&'f Slot>,
    price_as_resource: Option<&'f Slot>,
    resource_scope: Option<&'f Slot>,
    proxy: Option<bool>,
    log_prompt_and_response: Option<bool>,
    limit_ids: Layers<'f>,
    request_tags: Layers<'f>,
    request_properties: Layers<'f>,
    use_case: Option<Open<'f>>,
}

/// The open use case.
struct Open<'f> {
    name: &'f Slot,
    id: Id<'f>,
    version: Option<u32>,
    step: Option<&'f Slot>,
    properties: Layers<'f>,
}

/// Lists, or maps, one on top of the other; only who asks for all of them pays for laying them together.
#[derive(Default)]
struct Layers<'f> {
    few: [Option<&'f Slot>; 4],
    /// How many of them there are.
    len: usize,
    more: Vec<&'f Slot>,
}

impl<'f> Layers<'f> {
    fn lay(&mut self, value: &'f Slot) {
        match value {
            Slot::Clear => *self = Self::default(),
            Slot::Literals(_) | Slot::LiteralPairs(_) | Slot::Held(_) => {
                match self.few.get_mut(self.len) {
                    Some(room) => *room = Some(value),
                    None => self.more.push(value),
                }
                self.len += 1;
            }
            _ => {}
        }
    }

    const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// From the lowest to the highest.
    fn iter(&self) -> impl Iterator<Item = &'f Slot> {
        self.few.iter().copied().flatten().chain(self.more.iter().copied())
    }

    fn list(&self) -> Vec<Text> {
        let mut all = Vec::new();
        self.iter().for_each(|layer| list(&mut all, layer));
        all
    }

    fn map(&self) -> Properties {
        let mut all = Properties::new();
        self.iter().for_each(|layer| map(&mut all, layer));
        all
    }
}

/// Where a use case's id comes from.
enum Id<'f> {
    Cleared,
    Given(&'f Slot),
    /// The frame that opened it makes one, if it is asked for.
    Of(&'f Frame),
}

impl<'f> Merged<'f> {
    /// Applies `frame` after everything around it. A chain is at most `frame::DEEP` long.
    fn outermost_first(&mut self, frame: &'f Frame, base: Option<&'f Frame>) {
        if !frame.is_sealed() {
            match frame.parent() {
                Some(parent) => self.outermost_first(parent, base),
                None => base.into_iter().for_each(|base| self.apply(base)),
            }
        }
        self.apply(frame);
    }

    fn apply(&mut self, frame: &'f Frame) {
        let mut name = None;
        let mut grouped = false;
        for Entry { key, value } in frame.entries() {
            match (key, value) {
                // What a root carries is nobody's user.
                (_, Slot::Unset) | (Key::UserId, Slot::Held(_)) => {}
                (Key::UseCaseName, value) => name = Some(value),
                (Key::UserId, value) => text(&mut self.user_id, value),
                (Key::AccountName, value) => text(&mut self.account_name, value),
                (Key::PriceAsCategory, value) => text(&mut self.price_as_category, value),
                (Key::PriceAsResource, value) => text(&mut self.price_as_resource, value),
                (Key::ResourceScope, value) => text(&mut self.resource_scope, value),
                (Key::LimitIds, value) => self.limit_ids.lay(value),
                (Key::RequestTags, value) => self.request_tags.lay(value),
                (Key::RequestProperties, value) => self.request_properties.lay(value),
                (Key::Proxy, value) => flag(&mut self.proxy, value),
                (Key::LogPromptAndResponse, value) => flag(&mut self.log_prompt_and_response, value),
                (Key::UseCaseId | Key::UseCaseVersion | Key::UseCaseStep | Key::UseCaseProperties, _) => {
                    grouped = true;
                }
            }
        }
        match name {
            Some(Slot::Clear) => {
                self.use_case = None;
                return;
            }
            Some(name) if self.use_case.as_ref().is_none_or(|open| !open.name.is_text_of(name)) => {
                let properties = Layers::default();
                let id = Id::Of(frame);
                self.use_case = Some(Open { name, id, version: None, step: None, properties });
            }
            _ => {}
        }
        if grouped {
            match &mut self.use_case {
                Some(open) => open.apply(frame),
                None => frame.without_use_case(),
            }
        }
    }

    /// Whether `key` has a value.
    pub(crate) fn has(&self, key: Key) -> bool {
        let use_case = self.use_case.as_ref();
        match key {
            Key::UserId => self.user_id.is_some(),
            Key::AccountName => self.account_name.is_some(),
            Key::UseCaseName => use_case.is_some(),
            Key::UseCaseId => use_case.is_some_and(|it| !matches!(it.id, Id::Cleared)),
            Key::UseCaseVersion => use_case.is_some_and(|it| it.version.is_some()),
            Key::UseCaseStep => use_case.is_some_and(|it| it.step.is_some()),
            Key::UseCaseProperties => use_case.is_some_and(|it| !it.properties.is_empty()),
            Key::LimitIds => !self.limit_ids.is_empty(),
            Key::RequestTags => !self.request_tags.is_empty(),
            Key::RequestProperties => !self.request_properties.is_empty(),
            Key::PriceAsCategory => self.price_as_category.is_some(),
            Key::PriceAsResource => self.price_as_resource.is_some(),
            Key::ResourceScope => self.resource_scope.is_some(),
            Key::Proxy => self.proxy.is_some(),
            Key::LogPromptAndResponse => self.log_prompt_and_response.is_some(),
        }
    }

    /// As what the call is priced: the category and the resource.
    #[cfg(feature = "_calls")]
    pub(crate) fn price_as(&self) -> (Option<Text>, Option<Text>) {
        let text = |slot: Option<&Slot>| slot.and_then(Slot::to_text);
        (text(self.price_as_category), text(self.price_as_resource))
    }

    /// Whether the call goes through Pay-i's proxy, and whether the prompt and the answer are kept.
    #[cfg(feature = "_calls")]
    pub(crate) const fn flags(&self) -> (Option<bool>, Option<bool>) {
        (self.proxy, self.log_prompt_and_response)
    }

    fn finish(self) -> Resolved {
        Resolved {
            user_id: self.user_id.and_then(Slot::to_text),
            account_name: self.account_name.and_then(Slot::to_text),
            use_case: self.use_case.and_then(Open::finish),
            limit_ids: self.limit_ids.list(),
            request_tags: self.request_tags.list(),
            request_properties: self.request_properties.map(),
            price_as_category: self.price_as_category.and_then(Slot::to_text),
            price_as_resource: self.price_as_resource.and_then(Slot::to_text),
            resource_scope: self.resource_scope.and_then(Slot::to_text),
            proxy: self.proxy,
            log_prompt_and_response: self.log_prompt_and_response,
        }
    }
}

impl<'f> Open<'f> {
    fn apply(&mut self, frame: &'f Frame) {
        for Entry { key, value } in frame.entries() {
            match (key, value) {
                (Key::UseCaseId, Slot::Clear) => self.id = Id::Cleared,
                (Key::UseCaseId, Slot::Literal(_) | Slot::Inline(_) | Slot::Shared(_)) => {
                    self.id = Id::Given(value);
                }
                (Key::UseCaseVersion, Slot::Version(version)) => self.version = Some(*version),
                (Key::UseCaseVersion, Slot::Clear) => self.version = None,
                (Key::UseCaseStep, value) => text(&mut self.step, value),
                (Key::UseCaseProperties, value) => self.properties.lay(value),
                _ => {}
            }
        }
    }

    fn finish(self) -> Option<UseCase> {
        Some(UseCase {
            name: self.name.to_text()?,
            id: match self.id {
                Id::Cleared => None,
                Id::Given(id) => id.to_text(),
                Id::Of(frame) => {
                    let id = frame.use_case_id();
                    Some(Text::new(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())))
                }
            },
            version: self.version,
            step: self.step.and_then(Slot::to_text),
            properties: self.properties.map(),
        })
    }
}

fn text<'f>(to: &mut Option<&'f Slot>, value: &'f Slot) {
    match value {
        Slot::Unset => {}
        Slot::Clear => *to = None,
        value => *to = Some(value),
    }
}

fn flag(to: &mut Option<bool>, value: &Slot) {
    match value {
        Slot::Flag(flag) => *to = Some(*flag),
        Slot::Clear => *to = None,
        _ => {}
    }
}

fn list(to: &mut Vec<Text>, value: &Slot) {
    let add = |text: Text| {
        if !to.contains(&text) {
            to.push(text);
        }
    };
    match value {
        Slot::Literals(texts) => texts.iter().map(|text| Text::literal(text)).for_each(add),
        Slot::Held(held) => held.list().iter().cloned().for_each(add),
        Slot::Clear => to.clear(),
        _ => {}
    }
}

fn map(to: &mut Properties, value: &Slot) {
    match value {
        Slot::LiteralPairs(pairs) => {
            for (key, value) in *pairs {
                lay(to, &Text::literal(key), Some(&Text::literal(value)));
            }
        }
        Slot::Held(held) => {
            for (key, value) in held.map() {
                lay(to, key, value.as_ref());
            }
        }
        Slot::Clear => to.clear(),
        _ => {}
    }
}

fn lay(to: &mut Properties, key: &Text, value: Option<&Text>) {
    for (known, old) in to.iter_mut() {
        if known == key {
            *old = value.cloned();
            return;
        }
    }
    if to.capacity() == 0 {
        // Most have no more, and growing takes longer than all the rest.
        to.reserve_exact(8);
    }
    to.push((key.clone(), value.cloned()));
}
