//! The files that the pages need: a style, a script and a picture, of this program and from no other host.

use axum::http::header;
use axum::response::{IntoResponse as _, Response};

/// Path, media type and content of each.
pub(super) const ALL: [(&str, &str, &str); 3] = [
    ("/page/icon.svg", "image/svg+xml", include_str!("../../../templates/page/icon.svg")),
    ("/page/script.js", "text/javascript; charset=utf-8", include_str!("../../../templates/page/script.js")),
    ("/page/style.css", "text/css; charset=utf-8", include_str!("../../../templates/page/style.css")),
];

/// What whoever came in sees for a moment: a page of this origin, which leads on with the cookie.
pub(in crate::interface) const ENTERED: &str = include_str!("../../../templates/page/entered.html");

/// True for what everybody may have, so that a refusal can be read.
pub(in crate::interface) fn is_asset(path: &str) -> bool {
    ALL.iter().any(|(known, ..)| *known == path)
}

pub(super) fn answer(media_type: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type)], content).into_response()
}
