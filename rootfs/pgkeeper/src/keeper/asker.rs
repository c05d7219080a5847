//! The witness's thread: asks the newest question there is, with a bound of time.
//!
//! The protocol asks again and again while it waits, so questions that came in meanwhile are
//! answered by asking the last of them alone: a question says all that its asker wants.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use failover::Ask;

use super::inbox::Outlet;
use super::news::{News, start};
use crate::witness::client::Client;

/// For connecting, the handshake and the answer. The witness may be behind a slow line, and its box
/// slow; longer than this an outage isn't worth waiting for one answer.
const LIMIT: Duration = Duration::from_secs(1);

/// Starts the thread.
pub(crate) fn ask(client: Client, news: Outlet<News>) -> io::Result<Sender<Ask>> {
    let (sender, questions) = channel();
    start("witness", move || ask_all(client, &questions, &news))?;
    Ok(sender)
}

fn ask_all(mut client: Client, questions: &Receiver<Ask>, news: &Outlet<News>) {
    while let Ok(first) = questions.recv() {
        let newest = questions.try_iter().last().unwrap_or(first);
        let answer = client.ask(&newest, LIMIT).map_err(|error| error.to_string());
        if !news.put(News::Witness(answer)) {
            return;
        }
    }
}
