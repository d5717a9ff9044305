//! `--server`: asks a `payi serve` for a report, which writes it as it would be written here.

use std::{io::Write, net::ToSocketAddrs as _, time::Duration};

use form_urlencoded::Serializer;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, Uri, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{Failure, output::Terminal};

/// How long the server may take to be reached.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take over a report.
const ANSWER: Duration = Duration::from_secs(120);

/// Writes what the server at `url` answers.
pub(crate) fn ask(
    url: &str,
    report: &str,
    options: &[(String, String)],
    terminal: Option<Terminal>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let host = host_of(url)?;
    let mut query = Serializer::new(String::new());
    for (name, value) in options {
        query.append_pair(name, value);
    }
    if let Some(terminal) = terminal {
        query.append_pair("terminal-width", &terminal.width.map_or_else(String::new, |w| w.to_string()));
        query.append_pair("terminal-color", if terminal.color { "yes" } else { "no" });
    }
    let request = Request::get(format!("/api/reports/{report}?{}", query.finish()))
        .header(hyper::header::HOST, &host)
        .body(Empty::new())
        .map_err(|e| Failure::Misuse(format!("{url} is no address: {e}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async { tokio::time::timeout(ANSWER, send(&host, request)).await });
    let late = |_| Failure::Failed(format!("{url} did not answer within two minutes"));
    // Whole before any of it is written: the server does not wait for somebody who reads it page by page.
    out.write_all(&answer.map_err(late)??)?;
    Ok(out.flush()?)
}

async fn send(host: &str, request: Request<Empty<Bytes>>) -> Result<Bytes, Failure> {
    let lost = |e: hyper::Error| Failure::Failed(format!("the connection to {host} broke: {e}"));
    let stream = connect(host).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(lost)?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(lost)?.to_bytes();
    if status.is_success() {
        return Ok(body);
    }
    let said = String::from_utf8_lossy(&body).trim_end().to_owned();
    Err(match status {
        StatusCode::BAD_REQUEST => Failure::Misuse(said),
        StatusCode::NOT_FOUND => Failure::Failed(said),
        _ => Failure::Failed(format!("{host} answered {status}: {said}")),
    })
}

async fn connect(host: &str) -> Result<TcpStream, Failure> {
    let refused = |why: &dyn std::fmt::Display| {
        Failure::Failed(format!("nothing answers at {host} ({why}); is `payi serve` running there?"))
    };
    let addresses: Vec<_> = host.to_socket_addrs().map_err(|e| refused(&e))?.collect();
    match tokio::time::timeout(CONNECT, TcpStream::connect(addresses.as_slice())).await {
        Ok(stream) => stream.map_err(|e| refused(&e)),
        Err(_) => Err(refused(&"it took too long")),
    }
}

/// The host and port of an address such as `http://127.0.0.1:8377`.
fn host_of(url: &str) -> Result<String, Failure> {
    let no = |why| Err(Failure::Misuse(format!("--server {url}: {why}")));
    let Ok(address) = url.parse::<Uri>() else {
        return no("this is no address, such as http://127.0.0.1:8377");
    };
    let Some(authority) = address.authority() else {
        return no("write the whole address, such as http://127.0.0.1:8377");
    };
    if address.scheme_str().is_none() {
        return no("write the whole address, such as http://127.0.0.1:8377");
    }
    if address.scheme_str() != Some("http") {
        return no("payi serve speaks plain http, to its own machine; reach another machine's by `ssh -L`");
    }
    let port = authority.port_u16().unwrap_or(80);
    Ok(format!("{}:{port}", authority.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_whole_one_over_http() {
        for (url, host) in [
            ("http://127.0.0.1:8377", "127.0.0.1:8377"),
            ("http://localhost", "localhost:80"),
            ("http://[::1]:8377/", "[::1]:8377"),
        ] {
            assert_eq!(host_of(url).ok().as_deref(), Some(host));
        }
        for url in ["", "127.0.0.1:8377", "https://127.0.0.1", "ftp://x", "http://", "http://a b"] {
            assert!(matches!(host_of(url), Err(Failure::Misuse(_))), "{url}");
        }
    }
}
