//! Calls of the API, counted by what was asked and how it was answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use prost_reflect::DescriptorPool;
use runtime::metrics::{Counters, Registry, Times};
use tonic::body::Body;
use tonic::{Code, Status};

use super::front::Protocol;
use crate::rest::code_name;
use crate::telemetry::{API_REQUEST_SECONDS, API_REQUESTS};

/// What is asked that is none of our RPCs: health, reflection, a path that does not exist.
const OTHER: &str = "other";

/// Counts calls.
pub(super) struct Requests {
    /// `/package.Service/Method` to `Method`, of our own package.
    names: HashMap<String, Arc<str>>,
    counters: Counters<3>,
    times: Times<1>,
}

impl Requests {
    pub(super) fn new(pool: &DescriptorPool, package: &str, registry: &Registry) -> Self {
        let services = pool.services().filter(|service| service.package_name() == package);
        let names = services.flat_map(|service| {
            let path = format!("/{}/", service.full_name());
            let named = |name: &str| (format!("{path}{name}"), name.into());
            service.methods().map(|method| named(method.name())).collect::<Vec<_>>()
        });
        let counted = Self {
            names: names.collect(),
            counters: Counters::new(&API_REQUESTS),
            times: Times::new(&API_REQUEST_SECONDS),
        };
        registry.counters(&counted.counters);
        registry.times(&counted.times);
        counted
    }

    /// Counts an answer that began after `time` to the call of `path` (`/package.Service/Method`), where the call has one.
    pub(super) fn count(
        &self,
        protocol: Protocol,
        path: Option<&str>,
        answer: &Response<Body>,
        time: Duration,
    ) {
        let name = path.and_then(|path| self.names.get(path));
        let name = name.map_or(OTHER, |name| name).to_owned();
        let (protocol, code) = match protocol {
            Protocol::Grpc => ("grpc", grpc_code(answer)),
            Protocol::Rest => ("rest", answer.status().as_str().to_owned()),
        };
        self.times.observe([name.clone()], time);
        self.counters.count([protocol.to_owned(), name, code]);
    }
}

/// Errors come in the headers alone; an answer without a status there has begun well.
fn grpc_code(answer: &Response<Body>) -> String {
    let status = Status::from_header_map(answer.headers());
    code_name(status.map_or(Code::Ok, |status| status.code())).to_owned()
}
