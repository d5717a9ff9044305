//! The rules by which an inner scope inherits from an outer one.
//!
//! Scopes are applied from the outermost inwards. A single value replaces what is there, a list adds to
//! it, a map lays its keys over it, `Clear` empties it. The use case is a group: a name that differs
//! from the open one starts clean, with a fresh id; the same name goes on with the open one; a cleared
//! name closes it; its other keys mean nothing where none is open.

use crate::context::{Frame, Key, Resolved, Text, UseCase, entry::Entry, resolved::Properties, slot::Slot};

/// What `frame`, and `base` under its outermost scope, say together.
pub(crate) fn resolve(frame: Option<&Frame>, base: Option<&Frame>) -> Resolved {
    let mut merged = Merged::default();
    match frame {
        Some(frame) => merged.outermost_first(frame, base),
        None => base.into_iter().for_each(|base| merged.apply(base)),
    }
    merged.finish()
}

/// What the scopes so far say; borrowed from them, because most of it is replaced further in.
#[derive(Default)]
struct Merged<'f> {
    user_id: Option<&'f Slot>,
    account_name: Option<&'f Slot>,
    price_as_category: Option<&'f Slot>,
    price_as_resource: Option<&'f Slot>,
    resource_scope: Option<&'f Slot>,
    proxy: Option<bool>,
    log_prompt_and_response: Option<bool>,
    limit_ids: Vec<Text>,
    request_tags: Vec<Text>,
    request_properties: Properties,
    use_case: Option<Open<'f>>,
}

/// The open use case.
struct Open<'f> {
    name: Text,
    id: Id<'f>,
    version: Option<u32>,
    step: Option<&'f Slot>,
    properties: Properties,
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
                (Key::UseCaseName, value) => name = Some(value.to_text()),
                (Key::UserId, value) => text(&mut self.user_id, value),
                (Key::AccountName, value) => text(&mut self.account_name, value),
                (Key::PriceAsCategory, value) => text(&mut self.price_as_category, value),
                (Key::PriceAsResource, value) => text(&mut self.price_as_resource, value),
                (Key::ResourceScope, value) => text(&mut self.resource_scope, value),
                (Key::LimitIds, value) => list(&mut self.limit_ids, value),
                (Key::RequestTags, value) => list(&mut self.request_tags, value),
                (Key::RequestProperties, value) => map(&mut self.request_properties, value),
                (Key::Proxy, value) => flag(&mut self.proxy, value),
                (Key::LogPromptAndResponse, value) => flag(&mut self.log_prompt_and_response, value),
                (Key::UseCaseId | Key::UseCaseVersion | Key::UseCaseStep | Key::UseCaseProperties, _) => {
                    grouped = true;
                }
            }
        }
        match name {
            Some(None) => {
                self.use_case = None;
                return;
            }
            Some(Some(name)) if self.use_case.as_ref().is_none_or(|open| open.name != name) => {
                let id = Id::Of(frame);
                self.use_case = Some(Open { name, id, version: None, step: None, properties: Vec::new() });
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

    fn finish(self) -> Resolved {
        Resolved {
            user_id: self.user_id.and_then(Slot::to_text),
            account_name: self.account_name.and_then(Slot::to_text),
            use_case: self.use_case.map(Open::finish),
            limit_ids: self.limit_ids,
            request_tags: self.request_tags,
            request_properties: self.request_properties,
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
                (Key::UseCaseProperties, value) => map(&mut self.properties, value),
                _ => {}
            }
        }
    }

    fn finish(self) -> UseCase {
        UseCase {
            name: self.name,
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
            properties: self.properties,
        }
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
