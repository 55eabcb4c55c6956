//! The table of routes, made from the descriptors.

use http::Method;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, Value};

use super::binding::Body;
use super::failure::Failure;
use super::path::Path;
use super::template::{Capture, RequestPath, Template};
use super::{decode, publish};

/// The annotations cannot be served. A bug in the protos, found at start.
#[derive(Debug, thiserror::Error)]
#[error("method {method}: google.api.http: {problem}")]
pub struct BuildError {
    /// Full name of the method.
    method: String,
    /// What is wrong.
    problem: String,
}

/// One HTTP method and path of one RPC.
#[derive(Debug)]
pub(super) struct Route {
    method: Method,
    template: Template,
    body: Body,
    rpc: MethodDescriptor,
    grpc_path: String,
}

impl Route {
    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    pub(super) fn body(&self) -> &Body {
        &self.body
    }

    pub(super) fn rpc(&self) -> &MethodDescriptor {
        &self.rpc
    }

    /// `/package.Service/Method`.
    pub(super) fn grpc_path(&self) -> &str {
        &self.grpc_path
    }

    pub(super) fn output(&self) -> MessageDescriptor {
        self.rpc.output()
    }
}

/// What a path and a method lead to.
#[derive(Debug)]
pub(super) enum Lookup<'t> {
    Found(&'t Route, Vec<Capture>),
    /// The path exists with these methods.
    WrongMethod(Vec<Method>),
    NotFound,
}

/// Every route.
#[derive(Debug)]
pub(super) struct Table {
    routes: Vec<Route>,
}

impl Table {
    pub(super) fn new(pool: &DescriptorPool, package: &str) -> Result<Self, BuildError> {
        let mut routes = Vec::new();
        for service in pool.services().filter(|service| service.package_name() == package) {
            for rpc in service.methods() {
                routes.extend(routes_of(pool, &rpc).map_err(|problem| BuildError {
                    method: rpc.full_name().to_owned(),
                    problem,
                })?);
            }
        }
        Ok(Self { routes })
    }

    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub(super) fn lookup(&self, method: &Method, path: &str) -> Lookup<'_> {
        let path = RequestPath::new(path);
        let mut allowed = Vec::new();
        for route in &self.routes {
            let Some(captures) = route.template.matches(&path) else {
                continue;
            };
            if route.method == method {
                return Lookup::Found(route, captures);
            }
            allowed.push(route.method.clone());
        }
        if allowed.is_empty() { Lookup::NotFound } else { Lookup::WrongMethod(allowed) }
    }

    /// Makes the request message of `route` from the body alone. An empty body is an empty object.
    pub(super) fn decode_body(
        &self,
        route: &Route,
        body: &[u8],
    ) -> Result<DynamicMessage, Failure> {
        let input = route.rpc.input();
        if body.is_empty() {
            return Ok(DynamicMessage::new(input));
        }
        if publish::is_publish(&route.rpc) {
            return Ok(publish::decode(&input, body)?);
        }
        match &route.body {
            Body::None => Ok(DynamicMessage::new(input)),
            Body::Whole => Ok(decode::message(&input, &decode::parse(body)?, Path::Root)?),
            Body::Field(field) => {
                let value = decode::field(field, &decode::parse(body)?, Path::Root)?;
                let mut message = DynamicMessage::new(input);
                if let Some(value) = value {
                    decode::set(&mut message, field, value, Path::Root)?;
                }
                Ok(message)
            }
        }
    }
}

/// The routes of one method: its rule and the additional bindings. None without an annotation.
fn routes_of(pool: &DescriptorPool, rpc: &MethodDescriptor) -> Result<Vec<Route>, String> {
    let Some(extension) = pool.get_extension_by_name("google.api.http") else {
        return Err("the descriptors do not hold google/api/annotations.proto".to_owned());
    };
    let options = rpc.options();
    if !options.has_extension(&extension) {
        return Ok(Vec::new());
    }
    let rule = options.get_extension(&extension);
    let rule = rule.as_message().ok_or("is not a message")?;
    let mut routes = vec![route(rpc, rule)?];
    if let Some(additional) = rule.get_field_by_name("additional_bindings") {
        for rule in additional.as_list().unwrap_or_default().iter().filter_map(Value::as_message) {
            routes.push(route(rpc, rule)?);
        }
    }
    Ok(routes)
}

fn route(rpc: &MethodDescriptor, rule: &DynamicMessage) -> Result<Route, String> {
    if rpc.is_client_streaming() || rpc.is_server_streaming() {
        return Err("streams are not served over REST".to_owned());
    }
    let (method, template) = pattern(rule)?;
    let body = Body::of(&text(rule, "body"), &rpc.input())?;
    Ok(Route {
        method,
        template: Template::parse(&template).map_err(|problem| format!("{template}: {problem}"))?,
        body,
        grpc_path: format!("/{}/{}", rpc.parent_service().full_name(), rpc.name()),
        rpc: rpc.clone(),
    })
}

/// The method and the template: the one of the `pattern` oneof that is set.
fn pattern(rule: &DynamicMessage) -> Result<(Method, String), String> {
    let methods = [
        ("get", Method::GET),
        ("post", Method::POST),
        ("put", Method::PUT),
        ("patch", Method::PATCH),
        ("delete", Method::DELETE),
    ];
    for (name, method) in methods {
        let template = text(rule, name);
        if !template.is_empty() {
            return Ok((method, template));
        }
    }
    Err("has no get, post, put, patch or delete".to_owned())
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
