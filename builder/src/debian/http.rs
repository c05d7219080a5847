//! Gets bytes from an address: `http:`, `https:` or `file:`, from an offset where one is left.
//!
//! Retrying, resuming and checking are the caller's (`store`); here one request is made, and its
//! failure is sorted into what may pass by itself and what won't.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use ureq::http::StatusCode;
use ureq::http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RANGE};
use ureq::tls::{RootCerts, TlsConfig};

use super::proxy::{Proxies, ProxyError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A mirror that sends nothing for this long is taken for dead; then the download is resumed.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes requests; keeps connections open between them.
#[derive(Debug)]
pub struct Http {
    plain: ureq::Agent,
    tls: ureq::Agent,
}

/// What names the version of a file that we have, as the server told us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validator {
    Tag(String),
    Modified(String),
}

/// A successful answer.
pub enum Answer {
    /// The version that we have is the current one.
    Unchanged,
    Body {
        reader: Box<dyn Read + Send>,
        /// Where the body starts; zero when the server doesn't know how to resume.
        offset: u64,
        validator: Option<Validator>,
    },
}

/// Why a request failed.
#[derive(Debug, Error)]
pub enum HttpError {
    #[error("{0}: not found")]
    NotFound(String),
    #[error("{url}: the server answered {status}")]
    Status { url: String, status: u16 },
    #[error("{url}: {reason}")]
    Transport { url: String, reason: String, transient: bool },
}

impl HttpError {
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotFound(_) => false,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Transport { transient, .. } => *transient,
        }
    }
}

impl Http {
    pub fn new(proxies: &Proxies) -> Result<Self, ProxyError> {
        Ok(Self { plain: proxies.plain_agent(config())?, tls: proxies.tls_agent(config())? })
    }

    /// Asks for `url` from `offset` on, or only if it isn't the version that `known` names.
    pub fn get(
        &self,
        url: &str,
        offset: u64,
        known: Option<&Validator>,
    ) -> Result<Answer, HttpError> {
        if let Some(path) = url.strip_prefix("file:") {
            return open_file(url, path, offset);
        }
        let agent = if url.starts_with("https:") { &self.tls } else { &self.plain };
        let mut request = agent.get(url);
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        match known {
            Some(Validator::Tag(tag)) => request = request.header(IF_NONE_MATCH, tag),
            Some(Validator::Modified(date)) => request = request.header(IF_MODIFIED_SINCE, date),
            None => {}
        }
        let response = request.call().map_err(|error| describe(url, &error))?;
        let status = response.status();
        let header = |name| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let validator =
            header(ETAG).map(Validator::Tag).or(header(LAST_MODIFIED).map(Validator::Modified));
        let offset = match status {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => offset,
            StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Answer::Unchanged),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Err(HttpError::NotFound(url.to_owned()));
            }
            other => {
                return Err(HttpError::Status { url: url.to_owned(), status: other.as_u16() });
            }
        };
        // The store bounds what it takes by the signed size, so no limit is set here.
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(Answer::Body { reader: Box::new(body), offset, validator })
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unchanged => f.write_str("Unchanged"),
            Self::Body { offset, .. } => write!(f, "Body from {offset}"),
        }
    }
}

fn config() -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(READ_TIMEOUT))
        .timeout_per_read(Some(READ_TIMEOUT))
        .user_agent(concat!("image-builder/", env!("CARGO_PKG_VERSION")))
}

fn describe(url: &str, error: &ureq::Error) -> HttpError {
    let transient = match error {
        // A certificate that isn't trusted won't be so in a second either.
        ureq::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
        ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Protocol(_) => true,
        _ => false,
    };
    HttpError::Transport { url: url.to_owned(), reason: error.to_string(), transient }
}

fn open_file(url: &str, path: &str, offset: u64) -> Result<Answer, HttpError> {
    let path = PathBuf::from(format!("/{}", path.trim_start_matches('/')));
    let wrap = |error: io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            return HttpError::NotFound(url.to_owned());
        }
        let reason = error.to_string();
        HttpError::Transport { url: url.to_owned(), reason, transient: false }
    };
    let mut file = File::open(&path).map_err(wrap)?;
    if file.metadata().map_err(wrap)?.is_dir() {
        return Err(HttpError::NotFound(url.to_owned()));
    }
    file.seek(SeekFrom::Start(offset)).map_err(wrap)?;
    Ok(Answer::Body { reader: Box::new(file), offset, validator: None })
}
