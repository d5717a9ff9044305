//! `payi serve` as a process: the address it says once it can be asked, the signals that end it, and an end that
//! waits for nobody for ever.

use std::{io::Write, time::Duration};

use payi_core::ledger::Ledger;

use crate::{
    Failure,
    args::Serve,
    logs,
    server::{self, Options, ServeError},
};

/// How long work off the threads of connections may go on once those are closed: reports that nobody waits for end at
/// once, and what is not committed by then was not acknowledged either.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &Serve, out: &mut dyn Write) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::Misuse(ServeError::NotLoopback(args.listen).to_string()));
    }
    logs::start(args.log, args.log_format);
    // Before a ledger is made: what cannot run leaves nothing behind.
    let prices = args.book.read()?;
    let ledger = Ledger::open(&args.file.ledger).map_err(|e| Failure::Misuse(e.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let place = args.file.ledger.display().to_string();
    let mut options = Options::default();
    (options.listen, options.keep_prompts) = (args.listen, args.log_prompt_and_response);
    options.prices = prices;
    let mut said = Ok(());
    let ready = |address| {
        let url = format!("http://{address}");
        said = writeln!(out, "payi serves {place} at {url} (Ctrl-C ends it)").and_then(|()| out.flush());
        if args.open && open::that_detached(&url).is_err() {
            tracing::warn!("payi serve: no browser could be opened");
        }
    };
    let served = runtime.block_on(server::serve(&ledger, options, ready, stopped()));
    runtime.shutdown_timeout(GRACE);
    served.map_err(|e| Failure::Failed(e.to_string()))?;
    Ok(said?)
}

/// Once, the service is to end; asked a second time, it ends at once.
async fn stopped() {
    signalled().await;
    tokio::spawn(async {
        signalled().await;
        std::process::exit(1);
    });
}

/// Ctrl-C, or the signal by which services are asked to end.
async fn signalled() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = interrupt.await;
}
