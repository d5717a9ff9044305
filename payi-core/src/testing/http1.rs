//! As much of HTTP/1.1 as a provider on loopback needs.

use std::io::{self, Write as _};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::testing::answer::Answer;

/// The longest head and the longest body that are read.
const HEAD_MAX: usize = 64 * 1024;
const BODY_MAX: usize = 256 * 1024 * 1024;

pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

fn bad(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Connection {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// The next request; `None` if the client is done.
    pub(super) async fn read(&mut self) -> io::Result<Option<Request>> {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            if self.read.len() > HEAD_MAX {
                return Err(bad("the head is too long"));
            }
            if !self.more().await? {
                return Ok(None);
            }
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let mut request = head_of(&String::from_utf8_lossy(&head))?;
        if request.header("expect").is_some() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let length = request.header("content-length").and_then(|length| length.parse().ok());
        let chunked = request.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
        request.body = match length {
            _ if chunked => self.chunked().await?,
            Some(length) => self.take(length).await?,
            None => Vec::new(),
        };
        Ok(Some(request))
    }

    async fn more(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > BODY_MAX {
            return Err(bad("the body is too long"));
        }
        while self.read.len() < length {
            if !self.more().await? {
                return Err(bad("the body is cut short"));
            }
        }
        Ok(self.read.drain(..length).collect())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, b"\r\n") {
                let line: Vec<u8> = self.read.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.read.len() > HEAD_MAX || !self.more().await? {
                return Err(bad("a line is cut short"));
            }
        }
    }

    async fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line().await?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| bad("a chunk without a size"))?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size).await?);
            self.line().await?;
        }
    }

    /// Plays an answer; whether the connection can be used again.
    pub(super) async fn write(&mut self, answer: &Answer) -> io::Result<bool> {
        if !answer.delay.is_zero() {
            tokio::time::sleep(answer.delay).await;
        }
        let mut head = Vec::with_capacity(256);
        write!(head, "HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status))?;
        write!(head, "content-type: {}\r\n", answer.content_type)?;
        for (name, value) in &answer.headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        if answer.sse {
            head.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        } else {
            write!(head, "content-length: {}\r\n\r\n", answer.body.len())?;
        }
        let mut pending = head;
        for (n, chunk) in answer.chunks().into_iter().enumerate() {
            if n > 0 && !answer.pause.is_zero() {
                self.flush(&mut pending).await?;
                tokio::time::sleep(answer.pause).await;
            }
            if answer.sse {
                write!(pending, "{:x}\r\n", chunk.len())?;
                pending.extend_from_slice(&chunk);
                pending.extend_from_slice(b"\r\n");
            } else {
                pending.extend_from_slice(&chunk);
            }
            if answer.sse || answer.piece < usize::MAX {
                self.flush(&mut pending).await?;
                tokio::task::yield_now().await;
            }
        }
        let whole = answer.cut.is_none_or(|cut| cut >= answer.body.len());
        if answer.sse && whole {
            pending.extend_from_slice(b"0\r\n\r\n");
        }
        self.flush(&mut pending).await?;
        Ok(whole)
    }

    async fn flush(&mut self, pending: &mut Vec<u8>) -> io::Result<()> {
        self.stream.write_all(pending).await?;
        pending.clear();
        Ok(())
    }
}

fn head_of(text: &str) -> io::Result<Request> {
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path)) = (first.next(), first.next()) else {
        return Err(bad("no request line"));
    };
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Request { method: method.to_owned(), path: path.to_owned(), headers, body: Vec::new() })
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
