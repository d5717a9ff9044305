//! reqwest's errors, and our own refusals beside them.

use std::{error::Error as StdError, fmt};

use super::backend::{self, StatusCode, Url};

/// What a tracked call can fail with: what reqwest fails with, or a refusal by payi.
pub struct Error(Repr);

enum Repr {
    Reqwest(backend::Error),
    Payi(crate::Error),
}

impl Error {
    /// A block limit refused the call; it never left the process.
    pub fn is_limit(&self) -> bool {
        matches!(&self.0, Repr::Payi(error) if error.is_limit())
    }

    /// reqwest's own error, if it is one.
    pub fn as_reqwest(&self) -> Option<&backend::Error> {
        match &self.0 {
            Repr::Reqwest(error) => Some(error),
            Repr::Payi(_) => None,
        }
    }

    /// payi's own error, if it is one.
    pub fn as_payi(&self) -> Option<&crate::Error> {
        match &self.0 {
            Repr::Payi(error) => Some(error),
            Repr::Reqwest(_) => None,
        }
    }

    fn is(&self, test: fn(&backend::Error) -> bool) -> bool {
        self.as_reqwest().is_some_and(test)
    }

    /// The address, if the error has to do with one.
    pub fn url(&self) -> Option<&Url> {
        self.as_reqwest().and_then(backend::Error::url)
    }

    /// The status, if the error was made from a response.
    pub fn status(&self) -> Option<StatusCode> {
        self.as_reqwest().and_then(backend::Error::status)
    }

    /// The request could not be put together.
    pub fn is_builder(&self) -> bool {
        self.is(backend::Error::is_builder) || self.as_payi().is_some_and(crate::Error::is_config)
    }

    /// Redirects did not end.
    pub fn is_redirect(&self) -> bool {
        self.is(backend::Error::is_redirect)
    }

    /// Made from a response's status (`error_for_status`).
    pub fn is_status(&self) -> bool {
        self.is(backend::Error::is_status)
    }

    /// A time limit passed.
    pub fn is_timeout(&self) -> bool {
        self.is(backend::Error::is_timeout)
    }

    /// The request could not be sent.
    pub fn is_request(&self) -> bool {
        self.is(backend::Error::is_request)
    }

    /// No connection could be made.
    pub fn is_connect(&self) -> bool {
        self.is(backend::Error::is_connect)
    }

    /// A body broke off.
    pub fn is_body(&self) -> bool {
        self.is(backend::Error::is_body)
    }

    /// A body could not be decoded.
    pub fn is_decode(&self) -> bool {
        self.is(backend::Error::is_decode)
    }
}

impl From<backend::Error> for Error {
    fn from(error: backend::Error) -> Self {
        Self(Repr::Reqwest(error))
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self(Repr::Payi(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Reqwest(error) => error.fmt(f),
            Repr::Payi(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Reqwest(error) => error.fmt(f),
            Repr::Payi(error) => error.fmt(f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            // This error shows itself as reqwest's, so what follows is what follows there.
            Repr::Reqwest(error) => error.source(),
            // So that `payi::Error::find` meets it.
            Repr::Payi(error) => Some(error),
        }
    }
}
