//! What a drill asks a node's own programs, in the words and by the sockets of `nodectl`.

use std::time::{Duration, Instant};

use ::probe::words::Ask;
use control::{Answer, BackupStatus, DatabaseStatus, PgRequest, Request, ServiceName};

use super::drill::Drill;
use super::fault::{Node, Stop};

/// More than the probe waits itself, since that knows better what went wrong.
const POST_LIMIT: Duration = Duration::from_mins(3);
/// Between two looks at a gate.
const GATE_AGAIN: Duration = Duration::from_millis(100);
/// Between two tries of what was refused.
const POST_AGAIN: Duration = Duration::from_secs(1);

impl Drill {
    /// Gives an order to a node's database keeper, or to its backups.
    pub fn order(&self, node: Node, request: PgRequest) -> Result<Answer, Stop> {
        self.ask_node(node, Request::Pg(request))
    }

    /// Tells PID 1 of a node that a service shall be down, until it is started again.
    pub fn stop_service(&mut self, node: Node, service: &str) -> Result<(), Stop> {
        self.tell_agent(node, service, |service| Request::Stop { service })
    }

    /// Tells PID 1 of a node that a service shall be up.
    pub fn start_service(&mut self, node: Node, service: &str) -> Result<(), Stop> {
        self.tell_agent(node, service, |service| Request::Start { service })
    }

    fn tell_agent(
        &mut self,
        node: Node,
        service: &str,
        order: impl Fn(ServiceName) -> Request,
    ) -> Result<(), Stop> {
        let unknown = |error: String| Stop::Unknown(format!("{service}: {error}"));
        let name = ServiceName::try_from(service.to_owned());
        let name = name.map_err(|error| unknown(error.to_string()))?;
        let request = order(name);
        self.mark();
        self.note(format!("{} {service} on {}", request.word(), self.name(node)));
        match self.ask_node(node, request)? {
            Answer::Accepted => Ok(()),
            other => Err(unknown(format!("PID 1 of {} says {other:?}", self.name(node)))),
        }
    }

    /// Gives an order to a peer's program on a node by HTTP, and gives what that says when it is done.
    pub fn post(&mut self, node: Node, port: u16, path: &str, json: &str) -> Result<String, Stop> {
        self.note(format!("{path} on {}: {json}", self.name(node)));
        let ask = Ask::Post { port, path: path.to_owned(), json: json.to_owned() };
        let answer = self.probe(node)?.ask_for(ask, POST_LIMIT)?;
        self.note(format!("{} answers {answer}", self.name(node)));
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Reads a small file of a node.
    pub fn read_file(&self, node: Node, path: &str) -> Result<String, Stop> {
        let answer = self.probe(node)?.ask(Ask::ReadFile { path: path.to_owned() })?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Gets what a peer's program on a node has to show by HTTP.
    pub fn get(&self, node: Node, port: u16, path: &str) -> Result<String, Stop> {
        let answer = self.probe(node)?.ask(Ask::Get { port, path: path.to_owned() })?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Posts again until it is accepted.
    pub fn post_until_accepted(
        &mut self,
        node: Node,
        port: u16,
        path: &str,
        json: &str,
        limit: Duration,
    ) -> Result<(), Stop> {
        let end = Instant::now() + limit;
        loop {
            match self.post(node, port, path, json) {
                Err(Stop::Unknown(refusal)) if Instant::now() < end => {
                    self.note(refusal);
                    self.let_pass(POST_AGAIN)?;
                }
                done => return done.map(drop),
            }
        }
    }

    fn ask_node(&self, node: Node, request: Request) -> Result<Answer, Stop> {
        let answer = self.probe(node)?.ask(Ask::Order { request })?;
        let strange = |error| Stop::Unknown(format!("{} answered: {error}", self.name(node)));
        serde_json::from_value(answer).map_err(strange)
    }

    /// What a node's keeper says; none while there is none to ask.
    pub fn keeper(&self, node: Node) -> Option<DatabaseStatus> {
        match self.order(node, PgRequest::Status) {
            Ok(Answer::Database(status)) => Some(*status),
            _ => None,
        }
    }

    /// Whether a node's keeper lets clients in. One that doesn't answer says nothing of that.
    pub fn gate_is_open(&self, node: Node) -> Result<bool, Stop> {
        let silent = || Stop::Unknown(format!("the keeper of {} doesn't answer", self.name(node)));
        self.keeper(node).map(|status| status.gate_open).ok_or_else(silent)
    }

    /// Looks at a node's gate for some time; whether it was ever open.
    pub fn gate_opens_within(&self, node: Node, time: Duration) -> Result<bool, Stop> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.gate_is_open(node)? {
                return Ok(true);
            }
            self.let_pass(GATE_AGAIN)?;
        }
        Ok(false)
    }

    /// What a node's backup service says; none while there is none to ask.
    pub fn backups(&self, node: Node) -> Option<BackupStatus> {
        match self.order(node, PgRequest::Backups) {
            Ok(Answer::Backups(status)) => Some(*status),
            _ => None,
        }
    }
}
