//! The table of routes while it is made: each row is a handler and its description, so that the OpenAPI document says what
//! the server does. schemars makes the schemas, from the types that `--output json` prints.

use axum::Router;
use axum::routing::MethodRouter;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::Interface;
use super::problem::{MEDIA_TYPE, Problem};
use crate::operate::versioned::Versioned;

/// Routes and their descriptions.
pub(super) struct Surface {
    router: Router<Interface>,
    paths: Map<String, Value>,
    answers: SchemaGenerator,
    bodies: SchemaGenerator,
}

/// The description of one request.
pub(super) struct Operation {
    method: &'static str,
    path: &'static str,
    description: Map<String, Value>,
    parameters: Vec<Value>,
}

/// The names that a path may hold.
pub(super) const KEY: &str = "^[A-Za-z0-9_]([A-Za-z0-9_-]{0,78}[A-Za-z0-9_])?$";
/// Names of buckets.
pub(super) const BUCKET: &str = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$";
/// Names of sandboxes.
pub(super) const SANDBOX: &str = "^[a-z0-9]([a-z0-9-]{0,45}[a-z0-9])?$";
/// Names of snapshots.
pub(super) const SNAPSHOT: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$";

impl Surface {
    pub(super) fn new() -> Self {
        let settings = || SchemaSettings::draft2020_12();
        Self {
            router: Router::new(),
            paths: Map::new(),
            answers: settings()
                .with(|settings| settings.definitions_path = "/components/schemas".into())
                .for_serialize()
                .into_generator(),
            bodies: settings().with(|settings| settings.inline_subschemas = true).for_deserialize().into_generator(),
        }
    }

    /// A request whose answer has the type `T`.
    pub(super) fn answers<T: JsonSchema + 'static>(&mut self, status: u16, what: &str) -> Value {
        let schema = Versioned::<'static, T>::json_schema(&mut self.answers);
        json!({ status.to_string(): { "description": what, "content": { "application/json": { "schema": bare(schema) } } } })
    }

    /// The schema of a part of an answer.
    pub(super) fn part<T: JsonSchema>(&mut self) -> Value {
        bare(T::json_schema(&mut self.answers))
    }

    /// The schema of a body.
    pub(super) fn body<T: JsonSchema>(&mut self) -> Value {
        bare(T::json_schema(&mut self.bodies))
    }

    /// A route without a description: for people.
    pub(super) fn hidden(&mut self, path: &'static str, handler: MethodRouter<Interface>) {
        self.router = std::mem::take(&mut self.router).route(path, handler);
    }

    /// A route.
    pub(super) fn add(&mut self, operation: Operation, handler: MethodRouter<Interface>) {
        self.hidden(operation.path, handler);
        let Operation { method, path, mut description, parameters } = operation;
        description.insert("parameters".into(), parameters.into());
        let operations = self.paths.entry(path).or_insert_with(|| json!({}));
        if let Some(operations) = operations.as_object_mut() {
            operations.insert(method.to_owned(), description.into());
        }
    }

    /// The routes, and the document that describes them.
    pub(super) fn finish(mut self) -> (Router<Interface>, Value) {
        let problem = bare(Problem::json_schema(&mut self.answers));
        let mut schemas = self.answers.take_definitions(true);
        schemas.insert("Problem".into(), problem);
        let document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "kestack",
                "version": "1",
                "summary": "A stack of MinIO and KES over HTTP, for test suites in any language",
            },
            "servers": [{ "url": "/" }],
            "security": [{ "token": [] }],
            "paths": self.paths,
            "components": {
                "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
                "schemas": schemas,
                "responses": { "Problem": {
                    "description": "Why the request failed, and what to do next (RFC 9457)",
                    "content": { MEDIA_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } },
                } },
            },
        });
        (self.router, document)
    }
}

impl Operation {
    /// A request; its name is that of a function in clients.
    pub(super) fn new(method: &'static str, path: &'static str, name: &str, summary: &str, answers: &Value) -> Self {
        let mut responses = answers.as_object().cloned().unwrap_or_default();
        responses.insert("default".into(), json!({ "$ref": "#/components/responses/Problem" }));
        let mut description = Map::new();
        description.insert("operationId".into(), name.into());
        description.insert("summary".into(), summary.into());
        description.insert("responses".into(), responses.into());
        Self { method, path, description, parameters: Vec::new() }
    }

    /// The name in the path.
    pub(super) fn named(mut self, pattern: &str) -> Self {
        let schema = json!({ "type": "string", "pattern": pattern });
        self.parameters.push(json!({ "name": "name", "in": "path", "required": true, "schema": schema }));
        self
    }

    /// A parameter of the query.
    pub(super) fn asked(mut self, name: &str, description: &str, schema: &Value) -> Self {
        let parameter = json!({ "name": name, "in": "query", "description": description, "schema": schema });
        self.parameters.push(parameter);
        self
    }

    /// A body.
    pub(super) fn with(mut self, schema: &Value, required: bool) -> Self {
        let body = json!({ "required": required, "content": { "application/json": { "schema": schema } } });
        self.description.insert("requestBody".into(), body);
        self
    }

    /// A call that takes the stack's lock.
    pub(super) fn locking(mut self) -> Self {
        let about = "`wait=SECONDS`: how long to wait while somebody else works on the stack, before 409 [default: 60]";
        let schema = json!({ "type": "string" });
        self.parameters.push(json!({ "name": "Prefer", "in": "header", "description": about, "schema": schema }));
        self
    }
}

/// A schema as a part of the document.
fn bare(schema: Schema) -> Value {
    schema.to_value()
}
