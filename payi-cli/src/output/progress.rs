//! A sign of life while something takes long: on standard error, if that is a terminal, and gone when it is done.

use std::{
    io::{Read, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// What has been done is counted in bytes of a whole of `bytes`.
pub(crate) fn bytes(what: &'static str, bytes: Option<u64>) -> Progress {
    let bar = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let form = match bytes {
        Some(_) => "{msg} [{bar:30}] {bytes} of {total_bytes}, {eta} to go",
        None => "{spinner} {msg} {bytes}, {elapsed}",
    };
    Progress::new(bar, form, what)
}

/// How far it is cannot be told, only that it goes on.
pub(crate) fn spinner(what: &'static str) -> Progress {
    Progress::new(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}", what)
}

/// The sign; it goes with the value.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    fn new(bar: ProgressBar, form: &str, what: &'static str) -> Self {
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    pub(crate) fn reading<R: Read>(&self, from: R) -> impl Read + use<R> {
        self.0.wrap_read(from)
    }

    pub(crate) fn writing<W: Write>(&self, to: W) -> impl Write + use<W> {
        self.0.wrap_write(to)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
