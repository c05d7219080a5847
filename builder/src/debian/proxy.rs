//! `http_proxy`, `https_proxy` and `no_proxy`.
//!
//! The HTTP library tunnels everything through a proxy with CONNECT. For `https:` that is right;
//! for `http:` it isn't: the caching proxies in front of Debian mirrors, and squid as it comes,
//! refuse CONNECT to port 80. So plain requests are sent to the proxy as HTTP wants it, with the
//! whole address in the request line (`GET http://HOST/PATH`). That takes a resolver that answers
//! with the proxy's address and a transport that completes the request line, both below.

use std::sync::Arc;

use thiserror::Error;
use ureq::config::{Config, ConfigBuilder};
use ureq::http::Uri;
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, Either, NextTimeout, TcpConnector,
    Transport,
};
use ureq::{Agent, Proxy};

use super::lookup::RememberingResolver;

/// Which proxies to use.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    plain: Option<Address>,
    tls: Option<Address>,
    /// Host names, and their endings, that are asked directly.
    except: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
    /// `user:password`
    login: Option<String>,
}

/// Why a proxy can't be used.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// The value without a login.
    #[error("{variable}={value:?} is no proxy's address: write http://[USER:PASSWORD@]HOST:PORT")]
    BadAddress { variable: String, value: String },
    #[error("the proxy can't be used: {0}")]
    Refused(String),
}

impl Proxies {
    /// What the process's environment says.
    pub fn from_environment() -> Result<Self, ProxyError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// What `lookup` says for `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in lower or
    /// upper case.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let value = |name: &str| {
            let found = lookup(name).or_else(|| lookup(&name.to_ascii_uppercase()));
            found.filter(|value| !value.trim().is_empty())
        };
        let proxy = |name: &str| {
            let named = value(name).map(|value| (name, value));
            let named = named.or_else(|| value("all_proxy").map(|value| ("all_proxy", value)));
            named.map(|(name, value)| parse(name, value.trim())).transpose()
        };
        let except = value("no_proxy").unwrap_or_default();
        let except = except.split(',').map(|host| host.trim().to_ascii_lowercase());
        Ok(Self {
            plain: proxy("http_proxy")?,
            tls: proxy("https_proxy")?,
            except: except.filter(|host| !host.is_empty()).collect(),
        })
    }

    /// Whether a host is asked directly: named itself, or below a named domain.
    fn is_excepted(&self, host: &str) -> bool {
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        self.except.iter().any(|entry| {
            let entry = entry.trim_start_matches('*').trim_start_matches('.');
            let below = host.strip_suffix(entry).is_some_and(|head| head.ends_with('.'));
            entry.is_empty() || host == entry || below
        })
    }

    /// An agent for `http:` addresses.
    pub(super) fn plain_agent(
        &self,
        config: ConfigBuilder<AgentScope>,
    ) -> Result<Agent, ProxyError> {
        let config = config.proxy(None).build();
        let Some(address) = &self.plain else {
            return Ok(agent(config));
        };
        let uri = format!("http://{}:{}/", address.host, address.port).parse::<Uri>();
        let uri = uri.map_err(|error| ProxyError::Refused(error.to_string()))?;
        let route = Arc::new(Route { proxies: self.clone(), uri });
        let connector = ().chain(TcpConnector::default());
        let connector = connector.chain(ThroughProxy { route: Arc::clone(&route) });
        let resolver = ProxyResolver { route, inner: RememberingResolver::default() };
        Ok(Agent::with_parts(config, connector, resolver))
    }

    /// An agent for `https:` addresses, which tunnels.
    pub(super) fn tls_agent(&self, config: ConfigBuilder<AgentScope>) -> Result<Agent, ProxyError> {
        let Some(address) = &self.tls else {
            return Ok(agent(config.proxy(None).build()));
        };
        let mut proxy =
            Proxy::builder(ureq::ProxyProtocol::Http).host(&address.host).port(address.port);
        if let Some((user, password)) = address.login.as_deref().and_then(|l| l.split_once(':')) {
            proxy = proxy.username(user).password(password);
        }
        for entry in &self.except {
            let domain = entry.trim_start_matches('*').trim_start_matches('.');
            proxy = proxy.no_proxy(domain).no_proxy(&format!(".{domain}"));
        }
        let proxy = proxy.build().map_err(|error| ProxyError::Refused(error.to_string()))?;
        Ok(agent(config.proxy(Some(proxy)).build()))
    }
}

/// An agent of the library's own kind, but for the memory of its resolver.
fn agent(config: Config) -> Agent {
    Agent::with_parts(config, DefaultConnector::new(), RememberingResolver::default())
}

fn parse(variable: &str, value: &str) -> Result<Address, ProxyError> {
    const DEFAULT_PORT: u16 = 3128;
    let refuse = || {
        let (variable, value) = (variable.to_owned(), masked(value));
        ProxyError::BadAddress { variable, value }
    };
    let rest = value.strip_prefix("http://").unwrap_or(value).trim_end_matches('/');
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login.to_owned()), place),
        None => (None, rest),
    };
    let (host, port) = match place.rsplit_once(':') {
        // A bare IPv6 address in brackets has colons, but no port after the bracket.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| refuse())?),
        _ => (place, DEFAULT_PORT),
    };
    let proper = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    if host.is_empty() || !host.bytes().all(proper) || rest.contains("://") {
        return Err(refuse());
    }
    Ok(Address { host: host.to_owned(), port, login })
}

/// An address as it may be shown: dots are in the place of user and password. They end at the last
/// `@`, since an address that isn't one may have any character in its password.
fn masked(address: &str) -> String {
    let start = address.find("://").map_or(0, |at| at + "://".len());
    match address.rfind('@') {
        Some(end) if end >= start => format!("{}...{}", &address[..start], &address[end..]),
        _ => address.to_owned(),
    }
}

/// The proxy for plain requests, and who goes without it.
#[derive(Debug)]
struct Route {
    proxies: Proxies,
    uri: Uri,
}

impl Route {
    fn is_direct(&self, target: &Uri) -> bool {
        target.host().is_none_or(|host| self.proxies.is_excepted(host))
    }
}

#[derive(Debug)]
struct ProxyResolver {
    route: Arc<Route>,
    inner: RememberingResolver,
}

impl Resolver for ProxyResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let asked = if self.route.is_direct(uri) { uri } else { &self.route.uri };
        self.inner.resolve(asked, config, timeout)
    }
}

#[derive(Debug)]
struct ThroughProxy {
    route: Arc<Route>,
}

impl<In: Transport> Connector<In> for ThroughProxy {
    type Out = Either<In, CompletedRequests<In>>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(inner) = chained else {
            return Ok(None);
        };
        let Some(authority) = details.uri.authority() else {
            return Ok(Some(Either::A(inner)));
        };
        if self.route.is_direct(details.uri) {
            return Ok(Some(Either::A(inner)));
        }
        let target = format!("http://{authority}").into_bytes();
        let login = self.route.proxies.plain.as_ref().and_then(|proxy| proxy.login.as_ref());
        let login = login.map_or(String::new(), |login| {
            format!("Proxy-Authorization: Basic {}\r\n", base64(login.as_bytes()))
        });
        Ok(Some(Either::B(CompletedRequests { inner, target, login: login.into_bytes() })))
    }
}

/// Completes `GET /path` to `GET http://host/path` as it leaves.
#[derive(Debug)]
struct CompletedRequests<In> {
    inner: In,
    target: Vec<u8>,
    login: Vec<u8>,
}

impl<In: Transport> Transport for CompletedRequests<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        const METHOD: &[u8] = b"GET ";
        let output = self.inner.buffers().output();
        let mut amount = amount;
        // Only GET requests are ever made, so whatever leaves is the head of one.
        if output.starts_with(METHOD) && output.get(METHOD.len()) == Some(&b'/') {
            let line_end = output[..amount].windows(2).position(|pair| pair == b"\r\n");
            if let Some(line_end) = line_end {
                amount = insert(output, amount, line_end + 2, &self.login)?;
            }
            amount = insert(output, amount, METHOD.len(), &self.target)?;
        }
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

fn insert(buffer: &mut [u8], filled: usize, at: usize, bytes: &[u8]) -> Result<usize, ureq::Error> {
    if filled + bytes.len() > buffer.len() {
        return Err(ureq::Error::BadUri("the address is too long for a proxy".to_owned()));
    }
    buffer.copy_within(at..filled, at + bytes.len());
    buffer[at..at + bytes.len()].copy_from_slice(bytes);
    Ok(filled + bytes.len())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |position: usize| u32::from(group.get(position).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * position) & 63) as usize];
            text.push(if position <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(pairs: &[(&str, &str)]) -> Result<Proxies, ProxyError> {
        let find = |name: &str| pairs.iter().find(|(key, _)| *key == name);
        Proxies::read(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_usual_spellings_are_read() {
        let read = proxies(&[
            ("http_proxy", "http://u:p@proxy.test:8080/"),
            ("HTTPS_PROXY", "other.test"),
            ("no_proxy", "localhost, .corp.test,*.lab.test"),
        ]);
        let read = read.expect("read");
        let plain = read.plain.as_ref().expect("a proxy");
        assert_eq!((plain.host.as_str(), plain.port), ("proxy.test", 8080));
        assert_eq!(plain.login.as_deref(), Some("u:p"));
        assert_eq!(read.tls.as_ref().expect("a proxy").port, 3128);
        for direct in ["localhost", "a.corp.test", "LAB.test", "x.lab.test"] {
            assert!(read.is_excepted(direct), "{direct}");
        }
        assert!(!read.is_excepted("notlocalhost") && !read.is_excepted("xcorp.test"));
    }

    #[test]
    fn what_is_no_proxy_is_refused_by_name() {
        for bad in ["socks5://x:1", "http://", "x:port", "http://a b:1"] {
            let message = proxies(&[("http_proxy", bad)]).expect_err(bad).to_string();
            assert!(message.contains("http_proxy"), "{message}");
        }
    }

    #[test]
    fn no_message_has_the_password() {
        for bad in ["socks5://me:secret@x:1", "me:secret@x:port", "http://me:sec/secret@a b:1"] {
            let message = proxies(&[("http_proxy", bad)]).expect_err(bad).to_string();
            assert!(!message.contains("secret") && message.contains("...@"), "{message}");
        }
        assert_eq!(masked("socks5://x:1"), "socks5://x:1");
        assert_eq!(masked("socks5://me:secret@x:1"), "socks5://...@x:1");
    }

    #[test]
    fn base64_is_the_standard_one() {
        assert_eq!(base64(b"user:pass"), "dXNlcjpwYXNz");
        assert_eq!((base64(b"a"), base64(b"ab")), ("YQ==".into(), "YWI=".into()));
    }
}
