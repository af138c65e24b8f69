//! The frame around each page: where one is, what the stack is called, the fault in force, what was just done.

use std::convert::Infallible;
use std::sync::PoisonError;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::Serialize;
use tera::Context;

use super::render::render;
use crate::error::Error;
use crate::interface::Interface;
use crate::interface::problem::{Problem, completed};
use crate::operate::status::InForce;

/// What a handler of a page gives back.
pub(super) type Shown = Result<Response, Problem>;

/// What every template finds as `page`.
#[derive(Serialize)]
struct Frame<'a> {
    /// Title of the page.
    title: &'a str,
    /// Which entry of the navigation it belongs to.
    here: &'a str,
    /// Name of the stack; empty for whoever has not come in.
    stack: String,
    /// The fault in force.
    fault: Option<InForce>,
    /// What the last form did.
    notice: Option<String>,
}

/// Whether the page's own script asks, which shows only a part of the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct ForPart(bool);

impl<S: Sync> FromRequestParts<S> for ForPart {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.headers.contains_key("kestack-part")))
    }
}

impl Interface {
    /// A page, as this template shows what `view` holds.
    ///
    /// # Errors
    /// Those of the manifest, and of a broken template.
    pub(super) async fn show(
        &self,
        template: &'static str,
        titles: (&str, &str),
        view: &(impl Serialize + ?Sized),
    ) -> Shown {
        self.show_for(ForPart(false), template, titles, view).await
    }

    /// The same, or a part of it, which leaves what the last form did to a page.
    ///
    /// # Errors
    /// As [`Self::show`].
    pub(super) async fn show_for(
        &self,
        ForPart(is_part): ForPart,
        template: &'static str,
        (title, here): (&str, &str),
        view: &(impl Serialize + ?Sized),
    ) -> Shown {
        self.record();
        let options = self.0.known.options().await?;
        let fault = InForce::of(&options.layout())?;
        let take = || self.0.page.notice.lock().unwrap_or_else(PoisonError::into_inner).take();
        let notice = if is_part { None } else { take() };
        let frame = Frame { title, here, stack: options.manifest.name.to_string(), fault, notice };
        Ok(Html(framed(template, &frame, view)?).into_response())
    }

    /// A command of kestack, as it works for this stack; `None` for one in the foreground, of which they know nothing.
    pub(super) async fn command(&self, command: &str) -> Result<Option<String>, Error> {
        let is_served = self.0.known.options().await?.layout().is_served();
        Ok((!is_served).then(|| completed(command)))
    }

    /// Leads on from a form to a page, which says once what was done.
    pub(super) fn lead_to(&self, place: &str, done: impl Into<String>) -> Response {
        self.0.page.walk.forget();
        *self.0.page.notice.lock().unwrap_or_else(PoisonError::into_inner) = Some(done.into());
        (StatusCode::SEE_OTHER, [(header::LOCATION, place.to_owned())]).into_response()
    }

    /// A refusal as a page; whoever did not come in learns nothing of the stack.
    pub(super) async fn refusal(&self, problem: &Problem, came_in: bool, back: &str) -> Result<String, Error> {
        let options = if came_in { self.0.known.options().await.ok() } else { None };
        let frame = Frame {
            title: "That did not work",
            here: "",
            stack: options.map(|options| options.manifest.name.to_string()).unwrap_or_default(),
            fault: None,
            notice: None,
        };
        framed("refused.html", &frame, &serde_json::json!({ "problem": problem, "back": back }))
    }
}

fn framed(template: &'static str, frame: &Frame<'_>, view: &(impl Serialize + ?Sized)) -> Result<String, Error> {
    let mut context = Context::new();
    context.insert("page", frame);
    context.insert("view", view);
    render(template, &context)
}
