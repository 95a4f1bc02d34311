//! As much of HTTP as announces need (RFC 9112): the head of a GET, and answers.
//!
//! Bytes in, values out; connections are the tracker's. The client's side is `ureq`'s.

/// The longest head of a request, in bytes: a scrape of 100 torrents fits.
pub const MAX_HEAD: usize = 8 * 1024;
/// The most header fields in one request. Browsers send about 20.
const MAX_FIELDS: usize = 64;

/// The head of a GET request: a view of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// Without query, such as `/announce`.
    pub path: &'a str,
    /// What follows the `?`; empty if there is none.
    pub query: &'a str,
    pub after: After,
    /// How many bytes the head has.
    pub length: usize,
}

/// What becomes of the connection after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Close,
    /// HTTP/1.1 stays open unless somebody says otherwise.
    KeepAlive,
    /// HTTP/1.0 stays open only if both sides say so.
    SayKeepAlive,
}

/// Why bytes are not the head of a request that we answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("not an HTTP request: {0}")]
    Malformed(httparse::Error),
    #[error("only GET is answered here")]
    Method,
    #[error("the head of the request is longer than {MAX_HEAD} bytes")]
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    TooLong,
    Busy,
}

impl HeadError {
    pub fn status(&self) -> Status {
        match self {
            HeadError::Malformed(_) => Status::BadRequest,
            HeadError::Method => Status::MethodNotAllowed,
            HeadError::TooLong => Status::TooLong,
        }
    }
}

impl<'a> Head<'a> {
    /// The head that `bytes` begin with, or `None` if more bytes are needed.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Head<'a>>, HeadError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let length = match request.parse(bytes).map_err(HeadError::Malformed)? {
            httparse::Status::Complete(length) if length <= MAX_HEAD => length,
            httparse::Status::Partial if bytes.len() < MAX_HEAD => return Ok(None),
            _ => return Err(HeadError::TooLong),
        };
        if request.method != Some("GET") {
            return Err(HeadError::Method);
        }
        let target = strip_host(request.path.unwrap_or("/"));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let after = after(request.version == Some(1), request.headers);
        Ok(Some(Head {
            path,
            query,
            after,
            length,
        }))
    }
}

/// Requests through a proxy name the whole URL.
fn strip_host(target: &str) -> &str {
    match target.strip_prefix("http://") {
        None => target,
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
    }
}

fn after(one_one: bool, fields: &[httparse::Header<'_>]) -> After {
    let mut after = if one_one {
        After::KeepAlive
    } else {
        After::Close
    };
    for field in fields {
        if field.name.eq_ignore_ascii_case("connection") {
            for word in field.value.split(|&byte| byte == b',') {
                let word = word.trim_ascii();
                if word.eq_ignore_ascii_case(b"close") {
                    return After::Close;
                }
                if word.eq_ignore_ascii_case(b"keep-alive") && !one_one {
                    after = After::SayKeepAlive;
                }
            }
        }
        let is_length = field.name.eq_ignore_ascii_case("content-length");
        let has_body = is_length && field.value.trim_ascii() != b"0"
            || field.name.eq_ignore_ascii_case("transfer-encoding");
        // A body is not read, so what follows it could not be told from it.
        if has_body {
            return After::Close;
        }
    }
    after
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::TooLong => "431 Request Header Fields Too Large",
            Status::Busy => "503 Service Unavailable",
        }
    }
}

/// A whole answer: to be sent by one write.
pub fn response(status: Status, content_type: &str, after: After, body: &[u8]) -> Vec<u8> {
    use std::io::Write;

    let connection = match after {
        After::Close => "Connection: close\r\n",
        After::KeepAlive => "",
        After::SayKeepAlive => "Connection: keep-alive\r\n",
    };
    let mut out = Vec::with_capacity(160 + body.len());
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "HTTP/1.1 {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{connection}\r\n",
        status.line(),
        body.len()
    );
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, expect: Result<(&str, &str, After), HeadError>) {
        let got = Head::parse(head.as_bytes());
        let got = got.map(|head| head.map(|head| (head.path, head.query, head.after)));
        assert_eq!(got, expect.map(Some), "{head}");
    }

    #[test]
    fn heads_say_what_is_wanted_and_what_comes_after() {
        let get = "GET /announce?a=b?c HTTP/1.";
        let parts = |after| Ok(("/announce", "a=b?c", after));
        check(&format!("{get}1\r\n\r\n"), parts(After::KeepAlive));
        check(
            &format!("{get}1\r\nHost: x\r\nConnection: Close\r\n\r\n"),
            parts(After::Close),
        );
        check(&format!("{get}0\r\n\r\n"), parts(After::Close));
        check(
            &format!("{get}0\r\nconnection: TE, Keep-Alive\r\n\r\n"),
            parts(After::SayKeepAlive),
        );
        check(
            &format!("{get}1\r\nContent-Length: 5\r\n\r\nabcde"),
            parts(After::Close),
        );
        check(
            &format!("{get}1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            parts(After::Close),
        );
        check(
            "GET http://x:1/y HTTP/1.1\r\n\r\n",
            Ok(("/y", "", After::KeepAlive)),
        );
        check("GET http://x HTTP/1.1\n\n", Ok(("/", "", After::KeepAlive)));
    }

    #[test]
    fn everything_else_is_refused() {
        check("POST / HTTP/1.1\r\n\r\n", Err(HeadError::Method));
        check(
            "GET /\r\n\r\n",
            Err(HeadError::Malformed(httparse::Error::Token)),
        );
        check(
            &format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEAD)),
            Err(HeadError::TooLong),
        );
        check(
            &format!("GET /{}", "a".repeat(MAX_HEAD)),
            Err(HeadError::TooLong),
        );
        let fields = "a: b\r\n".repeat(MAX_FIELDS + 1);
        let many = Err(HeadError::Malformed(httparse::Error::TooManyHeaders));
        check(&format!("GET / HTTP/1.1\r\n{fields}\r\n"), many);
    }

    #[test]
    fn every_truncation_asks_for_more() {
        let head = b"GET /announce?a=b HTTP/1.1\r\nHost: x\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(Head::parse(&head[..cut]), Ok(None), "cut at {cut}");
        }
        let twice = [&head[..], head].concat();
        assert_eq!(Head::parse(&twice).unwrap().unwrap().length, head.len());
    }

    #[test]
    fn answers_look_like_this() {
        let answer = response(Status::Ok, "text/plain", After::SayKeepAlive, b"de");
        let expect = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nde";
        assert_eq!(String::from_utf8(answer).unwrap(), expect);
    }
}
