//! REST/JSON.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::DEADLINE;

/// A client of the REST API, or of any HTTP server on loopback. One connection a call.
#[derive(Clone, Debug)]
pub struct Rest {
    address: SocketAddr,
    authorization: Option<String>,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its bytes.
    pub body: Bytes,
    /// Its body as JSON; null where the body is none.
    pub json: Value,
}

impl Answer {
    /// Returns the JSON of a 2xx.
    ///
    /// # Errors
    /// For any other status, with the body.
    pub fn ok(self) -> Result<Value> {
        ensure!(self.status.is_success(), "{}: {}", self.status, self.text());
        Ok(self.json)
    }

    /// Returns the JSON of an answer whose status must be `status`.
    ///
    /// # Errors
    /// For any other status, with the body.
    pub fn expect(self, status: u16) -> Result<Value> {
        ensure!(
            self.status.as_u16() == status,
            "{} instead of {status}: {}",
            self.status,
            self.text()
        );
        Ok(self.json)
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Rest {
    /// Makes a client of the server at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, authorization: None }
    }

    /// Sends this API key with every call.
    #[must_use]
    pub fn with_api_key(mut self, key: &str) -> Self {
        self.authorization = Some(format!("Bearer {key}"));
        self
    }

    /// Calls `GET path`. Paths are absolute and already encoded, with the query.
    ///
    /// # Errors
    /// When there is no answer; a status is none of the errors.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None, Bytes::new()).await
    }

    /// Calls `DELETE path`.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, None, Bytes::new()).await
    }

    /// Calls `POST path` with a JSON body.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(Method::POST, path, Some("application/json"), body.to_string().into()).await
    }

    /// Calls `PATCH path` with a JSON body.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn patch(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(Method::PATCH, path, Some("application/json"), body.to_string().into()).await
    }

    /// Calls `POST path` with these very bytes.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn post_bytes(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        self.send(Method::POST, path, Some(content_type), body.into()).await
    }

    /// Calls `POST path` with these headers and bytes.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        self.send_with(Method::POST, path, headers, body.into()).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Answer> {
        let headers: Vec<_> =
            content_type.map(|media| ("content-type", media)).into_iter().collect();
        self.send_with(method, path, &headers, body).await
    }

    async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer> {
        let mut request =
            Request::builder().method(&method).uri(path).header(HOST, self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(http::header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).with_context(|| format!("{method} {path}"))?;
        timeout(DEADLINE, self.exchange(request))
            .await
            .with_context(|| format!("{method} {path}: no answer within {} s", DEADLINE.as_secs()))?
            .with_context(|| format!("{method} {path}"))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; its errors come out of the call.
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Answer { status: head.status, headers: head.headers, body, json })
    }
}
