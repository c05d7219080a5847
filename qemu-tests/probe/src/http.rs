//! A server of the guest's own that speaks HTTP, such as Patroni's REST API, asked or given an order.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use thiserror::Error;

/// Patroni answers a switchover when it is over, or by itself after a time.
const LIMIT: Duration = Duration::from_mins(2);
/// More than anybody says whose answer is worth reading.
const LONGEST: u64 = 64 * 1024;

#[derive(Debug, Error)]
pub enum HttpError {
    #[error("port {port}: {source}")]
    Socket { port: u16, source: io::Error },
    #[error("port {port} answered {answer:?}")]
    Refused { port: u16, answer: String },
}

/// Posts JSON, and gives what was answered if that is a success.
pub fn post(port: u16, path: &str, json: &str) -> Result<String, HttpError> {
    success(port, &request(path, json))
}

/// Gets a page.
pub fn get(port: u16, path: &str) -> Result<String, HttpError> {
    success(port, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"))
}

fn success(port: u16, request: &str) -> Result<String, HttpError> {
    let answer = exchange(port, request).map_err(|source| HttpError::Socket { port, source })?;
    body_of(&answer).map(str::to_owned).ok_or(HttpError::Refused { port, answer })
}

fn request(path: &str, json: &str) -> String {
    let length = json.len();
    format!(
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{json}"
    )
}

/// By HTTP/1.0 the answer ends with the connection.
fn exchange(port: u16, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What follows the head of a successful answer.
fn body_of(answer: &str) -> Option<&str> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?;
    status.starts_with('2').then_some(body)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn an_order_is_posted_and_a_refusal_is_told_whole() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let server = thread::spawn(move || {
            let answers = [
                "HTTP/1.0 200 OK\r\n\r\ndone",
                "HTTP/1.0 412 No\r\n\r\nno standby",
                "HTTP/1.0 200 OK\r\n\r\n{}",
            ];
            answers.map(|answer| {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut asked = [0; 512];
                let length = stream.read(&mut asked).expect("an order");
                stream.write_all(answer.as_bytes()).expect("answered");
                String::from_utf8_lossy(&asked[..length]).into_owned()
            })
        });
        assert_eq!(post(port, "/switchover", "{}").expect("a success"), "done");
        let refused = post(port, "/switchover", "{}").expect_err("no success").to_string();
        assert!(refused.contains("412 No") && refused.contains("no standby"), "{refused}");
        assert_eq!(get(port, "/cluster").expect("a success"), "{}");
        let [asked, _, got] = server.join().expect("it served");
        assert!(got.starts_with("GET /cluster HTTP/1.0\r\n"), "{got}");
        assert!(asked.starts_with("POST /switchover HTTP/1.0\r\n"), "{asked}");
        assert!(asked.ends_with("Content-Length: 2\r\n\r\n{}"), "{asked}");
    }
}
