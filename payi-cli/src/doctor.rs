//! `payi doctor`: one line per thing looked at, and exit code 1 if one of them is wrong.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "the method by itself is not general enough over its lifetime"
)]

use std::{
    io::{self, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, SystemTime},
};

use payi_core::ledger::{Filter, Ledger};

use crate::{Failure, args::Doctor, output::plural};

/// A deliverer this far behind has a problem.
const BEHIND: u64 = 10_000;

pub(crate) fn run(args: &Doctor, out: &mut dyn Write) -> Result<(), Failure> {
    let mut report = Report { out, wrong: 0 };
    let path = args.file.ledger.display();
    match args.file.read() {
        Ok(ledger) => {
            if ledger.is_newer()? {
                report.bad(format_args!(
                    "ledger {path} was written by a newer payi: this one reads it, and writes nothing to it; update payi"
                ))?;
            } else {
                report.good(format_args!("ledger {path} can be read"))?;
            }
            look(&ledger, &mut report)?;
        }
        Err(Failure::Misuse(message)) => report.bad(format_args!("{message}"))?,
        Err(other) => return Err(other),
    }
    environment(args, &mut report)?;
    if report.wrong > 0 { Err(Failure::Found) } else { Ok(()) }
}

struct Report<'o> {
    out: &'o mut dyn Write,
    wrong: u32,
}

impl Report<'_> {
    fn good(&mut self, what: std::fmt::Arguments<'_>) -> io::Result<()> {
        writeln!(self.out, "ok     {what}")
    }

    fn bad(&mut self, what: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.wrong += 1;
        writeln!(self.out, "wrong  {what}")
    }
}

fn look(ledger: &Ledger, report: &mut Report<'_>) -> Result<(), Failure> {
    let health = ledger.view(|view| view.health())?;
    let total = ledger.users(&Filter::new())?.total;
    report.good(format_args!(
        "{} on record, {} under way, {} not folded yet",
        plural(total.attempts, "attempt"),
        plural(health.in_flight, "call"),
        plural(ledger.unfolded()?, "event")
    ))?;
    for (reason, count) in &health.losses {
        report.bad(format_args!("{} lost: {reason}", plural(*count, "event")))?;
    }
    for (name, behind, aside) in &health.deliverers {
        if *aside > 0 {
            report.bad(format_args!(
                "{name} has set {} aside: see `payi delivery status`",
                plural(*aside, "event")
            ))?;
        }
        if *behind > BEHIND {
            report.bad(format_args!(
                "{name} is {} behind: is its process running, and Pay-i reachable?",
                plural(*behind, "event")
            ))?;
        } else {
            report.good(format_args!("{name} is {} behind", plural(*behind, "event")))?;
        }
    }
    if total.unpriced_calls > 0 {
        report.bad(format_args!(
            "{} of unknown price: see `payi users`",
            plural(total.unpriced_calls, "call")
        ))?;
    }
    let ahead = total.last_seen.and_then(|at| at.duration_since(SystemTime::now()).ok());
    if ahead.is_some_and(|ahead| ahead > Duration::from_secs(300)) {
        report.bad(format_args!("the newest call lies in the future: a clock is, or was, wrong"))?;
    } else {
        report.good(format_args!("the clock agrees with the newest call"))?;
    }
    Ok(())
}

fn environment(args: &Doctor, report: &mut Report<'_>) -> Result<(), Failure> {
    let settings = match payi_core::runtime::instrument().in_force() {
        Ok(settings) => settings,
        Err(error) => return Ok(report.bad(format_args!("{error}"))?),
    };
    if let Some(config) = &settings.config {
        report.good(format_args!("the settings in {} can be read", config.display()))?;
    }
    if !settings.sends_to_pay_i {
        return Ok(report.good(format_args!("PAYI_API_KEY is not set here: nothing goes to Pay-i"))?);
    }
    let Some((host, port)) = host_and_port(&settings.base_url) else {
        return Ok(report.bad(format_args!("PAYI_BASE_URL is no address: write it as https://host[:port]"))?);
    };
    if args.offline {
        return Ok(report.good(format_args!("PAYI_API_KEY is set; {host} was not tried"))?);
    }
    match reach(&host, port) {
        Ok(()) => report.good(format_args!("{host}:{port} can be reached"))?,
        Err(e) => report.bad(format_args!("{host}:{port} cannot be reached: {e}"))?,
    }
    Ok(())
}

fn host_and_port(base: &str) -> Option<(String, u16)> {
    let (scheme, rest) = base.split_once("://")?;
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            Some((host.trim_matches(['[', ']']).into(), port.parse().ok()?))
        }
        _ => Some((authority.trim_matches(['[', ']']).into(), default)),
    }
}

fn reach(host: &str, port: u16) -> io::Result<()> {
    let mut last = io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(3)) {
            Ok(_) => return Ok(()),
            Err(e) => last = e,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn an_address_gives_its_host_and_port() {
        for (base, host, port) in [
            ("https://api.pay-i.com", "api.pay-i.com", 443),
            ("http://127.0.0.1:8377/x", "127.0.0.1", 8377),
            ("http://[::1]:9", "::1", 9),
            ("https://[::1]", "::1", 443),
            ("https://user:secret@host.example/path", "host.example", 443),
        ] {
            assert_eq!(host_and_port(base), Some((host.into(), port)), "{base}");
        }
        for base in ["", "api.pay-i.com", "ftp://x", "http://", "http://x:notaport"] {
            assert_eq!(host_and_port(base), None, "{base}");
        }
    }
}
