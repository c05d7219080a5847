//! Which services this node runs, in the order of their start, and who waits for whom.
//!
//! A service whose `when` isn't met doesn't exist here. What is left is sorted so that each service
//! comes after all that it waits for; ties keep the order of the manifest, so equal manifests give
//! equal orders. From then on everything that looks "down" walks the list forwards and everything
//! that looks "up" walks it backwards.

use seed::manifest::Service;
use serde_json::Value;

/// More services than any node has, and few enough that a step that looks at all pairs is quick.
pub const MAX_SERVICES: usize = 256;

/// Why services can't be supervised.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// There are too many.
    #[error("{0} services, more than {MAX_SERVICES}: leave some out of the image")]
    TooMany(usize),
    /// Two have the same name.
    #[error("two services are called `{0}`: rename one of them in its overlay")]
    Twice(String),
    /// A need is not in the image.
    #[error("service `{service}` needs `{needed}`, which is not in the image: add its overlay")]
    NeedsAbsent {
        /// The service that needs.
        service: String,
        /// What it needs.
        needed: String,
    },
    /// A need is in the image, but doesn't run on this node.
    #[error(
        "service `{service}` needs `{needed}`, which runs only if the seed sets `{when}`: set it, \
         or give both services the same `when`"
    )]
    NeedsOff {
        /// The service that needs.
        service: String,
        /// What it needs.
        needed: String,
        /// The key of the seed that would let it run.
        when: String,
    },
    /// Services wait for each other in a circle, so none of them could ever start.
    #[error("services wait for each other in a circle: {0}; break the circle")]
    Circle(String),
}

/// Who waits for whom, by place in the order of start.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    /// For each service, those that it needs.
    pub(crate) needs: Vec<Vec<usize>>,
    /// For each service, those that it only comes after.
    pub(crate) after: Vec<Vec<usize>>,
}

impl Graph {
    /// Those that need a service.
    pub(crate) fn needers(&self, of: usize) -> impl Iterator<Item = usize> {
        (0..self.needs.len()).filter(move |other| self.needs[*other].contains(&of))
    }

    /// Those that need a service or come after it.
    pub(crate) fn waiters(&self, of: usize) -> impl Iterator<Item = usize> {
        let waits = move |other: &usize| {
            self.needs[*other].contains(&of) || self.after[*other].contains(&of)
        };
        (0..self.needs.len()).filter(waits)
    }
}

/// Sorts the services that run on this node into their order of start.
pub(crate) fn plan(all: &[Service], context: &Value) -> Result<(Vec<Service>, Graph), GraphError> {
    if all.len() > MAX_SERVICES {
        return Err(GraphError::TooMany(all.len()));
    }
    check_names(all)?;
    let runs = |service: &&Service| seed::render::is_met(service.when.as_deref(), context);
    let mut left: Vec<&Service> = all.iter().filter(runs).collect();
    check_needs(all, &left)?;
    let mut sorted: Vec<Service> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let free = |service: &&Service| {
            !service.waits_for().any(|name| left.iter().any(|other| other.name == *name))
        };
        let Some(next) = left.iter().position(free) else {
            return Err(GraphError::Circle(names(&left)));
        };
        sorted.push(left.remove(next).clone());
    }
    let place = |name: &_| sorted.iter().position(|service| service.name == *name);
    let needs = sorted.iter().map(|s| s.needs.iter().filter_map(place).collect()).collect();
    let after = sorted.iter().map(|s| s.after.iter().filter_map(place).collect()).collect();
    let graph = Graph { needs, after };
    Ok((sorted, graph))
}

fn check_names(all: &[Service]) -> Result<(), GraphError> {
    for (place, service) in all.iter().enumerate() {
        if all[..place].iter().any(|earlier| earlier.name == service.name) {
            return Err(GraphError::Twice(service.name.to_string()));
        }
    }
    Ok(())
}

fn check_needs(all: &[Service], running: &[&Service]) -> Result<(), GraphError> {
    for service in running {
        let runs = |name: &&_| running.iter().any(|other| other.name == **name);
        let Some(needed) = service.needs.iter().find(|name| !runs(name)) else { continue };
        let (service, needed_name) = (service.name.to_string(), needed.to_string());
        let Some(off) = all.iter().find(|other| other.name == *needed) else {
            return Err(GraphError::NeedsAbsent { service, needed: needed_name });
        };
        let when = off.when.clone().unwrap_or_default();
        return Err(GraphError::NeedsOff { service, needed: needed_name, when });
    }
    Ok(())
}

/// The services that remain when no service is free: the circles, and what waits for them.
fn names(left: &[&Service]) -> String {
    left.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(", ")
}
