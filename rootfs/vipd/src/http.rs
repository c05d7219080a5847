//! As much of HTTP as a check needs: one request, and the first line of its answer.

use crate::config::Url;

/// The start of a status line says all that we want to know.
pub const STATUS_BYTES_MAX: usize = 64;

/// The request of an HTTP check. Version 1.0 asks the server to close when it is done.
pub fn request(url: &Url) -> Vec<u8> {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    format!("GET {} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: vipd\r\n\r\n", url.path).into_bytes()
}

/// Whether the start of an answer says a status below 500; none while it is not all there.
pub fn judge(answer: &[u8]) -> Option<bool> {
    let line = answer.get(..12);
    let Some(line) = line else {
        // Whatever it is, it does not begin like an answer.
        return (!b"HTTP/".starts_with(answer.get(..5).unwrap_or(answer))).then_some(false);
    };
    let status = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u16>().ok());
    Some(status.is_some_and(|status| (100..500).contains(&status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_below_500_is_good_and_half_of_one_is_none() {
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\n"), Some(true));
        assert_eq!(judge(b"HTTP/1.0 401 Unauthorized"), Some(true));
        assert_eq!(judge(b"HTTP/1.1 503 Service"), Some(false));
        assert_eq!(judge(b"HTTP/1.1 2"), None);
        assert_eq!(judge(b""), None);
        assert_eq!(judge(b"SSH-2.0"), Some(false));
        assert_eq!(judge(b"HTTP/1.1 xyz and more"), Some(false));
    }

    #[test]
    fn a_request_names_its_host() {
        let url = Url::parse("http://[::1]:8080/healthz").expect("a URL");
        let request = String::from_utf8(request(&url)).expect("text");
        assert!(request.starts_with("GET /healthz HTTP/1.0\r\nHost: [::1]\r\n"));
    }
}
