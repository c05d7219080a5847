//! What each subcommand does, once it is clear which node is meant.

mod bundle;
mod keys;
mod pg;
mod top;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use control::{
    Answer, Fact, LogLine, Logs, MissingPart, PgRequest, Reason, Request, ServiceName,
    ServiceState, Status, VipRequest, VipStatus,
};

use crate::cli::Failure;
use crate::client::{ANSWER_LIMIT, Client, ClientError, Target};
use crate::show::{self, Style};

pub(crate) use bundle::BundleError;

/// How long a sibling of PID 1 may take to tell its part of the status. One that is well needs
/// milliseconds, and who asks for a status wants to see what isn't.
const SIBLING_LIMIT: Duration = Duration::from_secs(2);

/// A node, and how to show its answers.
#[derive(Debug)]
pub(crate) struct Node {
    client: Client,
    style: Style,
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// An answer as JSON for programs.
fn print_json(answer: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(answer).map_err(io::Error::from);
    print(&(text.map_err(Failure::Output)? + "\n"))
}

/// Says something to the person, beside the answer.
fn note(text: &str) {
    let _unheard = writeln!(io::stderr(), "{text}");
}

/// All facts and what they tell; the node isn't asked.
pub(crate) fn list_facts() -> Result<(), Failure> {
    let line = |fact: &Fact| format!("{:<16}{}\n", fact.word(), fact.summary());
    print(&Fact::ALL.iter().map(line).collect::<String>())
}

/// A log line as it is shown.
fn log_text(line: &LogLine) -> String {
    let service = line.service.as_ref().map_or("-", ServiceName::as_str);
    format!("{} {service} {}\n", show::log_time(line.unix_ms), show::plain(&line.text))
}

/// Why a sibling of PID 1 didn't tell its part of the status. None where it has no socket, as before
/// it has started: its service's line says that.
fn missing(part: &str, sibling: &str, error: &ClientError) -> Option<MissingPart> {
    let because = match error {
        ClientError::Refused { refusal, .. } if refusal.reason == Reason::NotNow => return None,
        ClientError::Refused { refusal, .. } => refusal.message.clone(),
        ClientError::CutOff { why, .. } => format!("{sibling}: {why}"),
        ClientError::NoAgent { source, .. } => format!("{sibling}: {source}"),
        other => other.to_string(),
    };
    Some(MissingPart { part: part.to_owned(), because })
}

impl Node {
    pub(crate) fn new(target: &Target, style: Style) -> Result<Self, Failure> {
        Ok(Self { client: Client::new(target)?, style })
    }

    /// The status as PID 1 knows it.
    fn ask_agent(&self) -> Result<Status, Failure> {
        match self.client.one(&Request::Status)? {
            Answer::Status(status) => Ok(*status),
            _ => Err(self.client.unexpected().into()),
        }
    }

    fn ask_vips(&self, limit: Duration) -> Result<Vec<VipStatus>, ClientError> {
        match self.client.one_within(&Request::Vip(VipRequest::Status), limit)? {
            Answer::Vips(vips) => Ok(vips),
            _ => Err(self.client.unexpected()),
        }
    }

    /// The same with what vipd and pgkeeper add where they run, or with why they don't. One that was
    /// stopped has nothing to add, and its service's line says that it is down.
    fn ask_status(&self) -> Result<Status, Failure> {
        let mut status = self.ask_agent()?;
        let is_up = |name: &str| {
            let mut services = status.services.iter();
            services.any(|service| service.name == name && service.state != ServiceState::Down)
        };
        let (vipd, keeper) = (is_up("vipd"), is_up("pgkeeper"));
        if vipd {
            match self.ask_vips(SIBLING_LIMIT) {
                Ok(vips) => status.vip = vips,
                Err(error) => status.missing.extend(missing("vip", "vipd", &error)),
            }
        }
        if keeper {
            match self.ask_database(SIBLING_LIMIT) {
                Ok(database) => status.database = Some(database),
                Err(error) => status.missing.extend(missing("database", "pgkeeper", &error)),
            }
        }
        Ok(status)
    }

    pub(crate) fn status(&self, json: bool) -> Result<(), Failure> {
        let status = self.ask_status()?;
        if json {
            return print_json(&status);
        }
        print(&show::screen(&status, self.style))
    }

    pub(crate) fn logs(
        &self,
        service: Option<ServiceName>,
        lines: u32,
        follow: bool,
        from_seq: Option<u64>,
    ) -> Result<(), Failure> {
        let request = Request::Logs(Logs { service, lines, follow, from_seq });
        let mut answers = self.client.ask(&request, follow)?;
        while let Some(answer) = answers.next()? {
            match answer {
                Answer::Log(line) => print(&log_text(&line))?,
                Answer::Missed { lines } => {
                    note(&format!("({lines} lines were written over before they could be read)"));
                }
                _ => return Err(self.client.unexpected().into()),
            }
        }
        Ok(())
    }

    /// Sends what changes something, and says what to look at.
    fn order(&self, request: &Request, done: &str) -> Result<(), Failure> {
        self.order_within(request, done, ANSWER_LIMIT)
    }

    fn order_within(&self, request: &Request, done: &str, limit: Duration) -> Result<(), Failure> {
        match self.client.one_within(request, limit)? {
            Answer::Accepted => {
                note(done);
                Ok(())
            }
            _ => Err(self.client.unexpected().into()),
        }
    }

    pub(crate) fn start(&self, service: ServiceName) -> Result<(), Failure> {
        let done = format!("{service} is to start; `nodectl status` shows how it goes");
        self.order(&Request::Start { service }, &done)
    }

    pub(crate) fn stop(&self, service: ServiceName) -> Result<(), Failure> {
        let done = format!("{service} is to stop; `nodectl start {service}` brings it back");
        self.order(&Request::Stop { service }, &done)
    }

    pub(crate) fn restart(&self, service: ServiceName) -> Result<(), Failure> {
        let done = format!("{service} is to restart; `nodectl status` shows how it goes");
        self.order(&Request::Restart { service }, &done)
    }

    pub(crate) fn reboot(&self, yes: bool) -> Result<(), Failure> {
        self.confirm("Reboot", yes)?;
        self.order(&Request::Reboot, "the node stops its services and boots anew")
    }

    pub(crate) fn power_off(&self, yes: bool) -> Result<(), Failure> {
        self.confirm("Switch off", yes)?;
        self.order(&Request::PowerOff, "the node stops its services and switches off")
    }

    /// Asks the person. Where there is none, nothing is done unless the command line says yes: what runs
    /// there may have been meant for another place.
    fn confirm(&self, what: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::NobodyToAsk);
        }
        let name = self.ask_agent()?.node.unwrap_or_else(|| "without a name".to_owned());
        let question =
            format!("{what} node {} ({})? yes/no: ", show::plain(&name), self.client.place());
        let mut errors = io::stderr();
        let _unheard = errors.write_all(question.as_bytes()).and_then(|()| errors.flush());
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        if read.is_ok() && matches!(answer.trim(), "yes" | "y") {
            Ok(())
        } else {
            Err(Failure::NotConfirmed)
        }
    }

    pub(crate) fn get(&self, fact: Fact) -> Result<(), Failure> {
        match self.client.one(&Request::Get { fact })? {
            Answer::Fact(told) => {
                let lines = told.text.lines().map(|line| format!("{}\n", show::plain(line)));
                print(&lines.collect::<String>())?;
                if !told.whole {
                    note(&format!("({fact} is longer than that; the rest was cut off)"));
                }
                Ok(())
            }
            _ => Err(self.client.unexpected().into()),
        }
    }

    pub(crate) fn metrics(&self) -> Result<(), Failure> {
        print(&self.all_metrics()?)
    }

    /// PID 1's metrics, and those of vipd, pgkeeper and the backups where these run. That one
    /// doesn't, though it should, is among PID 1's.
    fn all_metrics(&self) -> Result<String, ClientError> {
        let Answer::Metrics { mut text } = self.client.one(&Request::Metrics)? else {
            return Err(self.client.unexpected());
        };
        let siblings = [Request::Vip(VipRequest::Metrics), Request::Pg(PgRequest::Metrics)];
        for request in siblings {
            let told = self.client.one_within(&request, SIBLING_LIMIT);
            if let Ok(Answer::Metrics { text: more }) = told {
                text.push_str(&more);
            }
        }
        let backups = Request::Pg(PgRequest::Backups);
        if let Ok(Answer::Backups(status)) = self.client.one_within(&backups, SIBLING_LIMIT) {
            text.push_str(&control::backup_metrics(&status));
        }
        Ok(text)
    }
}
