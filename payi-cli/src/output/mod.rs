//! How reports are written: what a terminal can show, and what the formats share, so that none of them says other
//! figures than the next.

pub(crate) mod columns;
pub(crate) mod csv;
pub(crate) mod progress;
pub(crate) mod rows;

/// What the terminal at the other end can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// How many columns it has.
    pub width: Option<usize>,
    /// Whether it may be sent bold and dim text.
    pub color: bool,
}

impl Terminal {
    /// The one behind standard output; `NO_COLOR` and `TERM=dumb` are honoured.
    pub fn of_stdout() -> Self {
        let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = terminal_size::terminal_size().map(|(terminal_size::Width(columns), _)| columns.into());
        Self { width, color: unset("NO_COLOR") && !dumb }
    }
}

/// A table with its heading and total in bold and its rules dimmed.
pub(crate) fn emphasised(table: &str) -> String {
    let mut out = String::with_capacity(table.len() + 64);
    let mut rules = 0;
    for (i, line) in table.lines().enumerate() {
        let rule = line.starts_with('─');
        let total = rules == 2 && !rule;
        rules += i32::from(rule || total);
        let style = match (rule, i == 0 || total) {
            (true, _) => "\u{1b}[2m",
            (_, true) => "\u{1b}[1m",
            _ => "",
        };
        out.push_str(style);
        out.push_str(line);
        out.push_str(if style.is_empty() { "\n" } else { "\u{1b}[0m\n" });
    }
    out
}

/// `1 call`, `2 calls`.
pub(crate) fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
