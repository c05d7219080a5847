//! Looks every host up once.
//!
//! The HTTP library asks the resolver before each request, even when it then uses an open
//! connection. Of a hundred lookups over UDP one is easily lost, and that one costs five seconds:
//! more than all the downloads around it. A mirror's address doesn't change while we run.

use std::collections::HashMap;
use std::sync::Mutex;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// A resolver with a memory.
#[derive(Debug, Default)]
pub(super) struct RememberingResolver {
    inner: DefaultResolver,
    known: Mutex<HashMap<String, ResolvedSocketAddrs>>,
}

impl Resolver for RememberingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let name = format!(
            "{}//{}",
            uri.scheme_str().unwrap_or(""),
            uri.authority().map_or("", |a| a.as_str())
        );
        // Only a finished lookup is remembered, so a lock that a panic poisoned holds sound data.
        let known = |entries: &HashMap<String, ResolvedSocketAddrs>| entries.get(&name).cloned();
        if let Some(found) = self.known.lock().ok().and_then(|entries| known(&entries)) {
            return Ok(found);
        }
        let found = self.inner.resolve(uri, config, timeout)?;
        if let Ok(mut entries) = self.known.lock() {
            entries.insert(name, found.clone());
        }
        Ok(found)
    }
}
