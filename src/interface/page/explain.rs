//! Refusals for people: a browser gets a page with the same words that a program gets as JSON.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::interface::Interface;
use crate::interface::gate::CameIn;
use crate::interface::problem::Problem;

/// Answers browsers with a page where programs get problem details.
pub(in crate::interface) async fn explain(
    State(interface): State<Interface>,
    request: Request,
    next: Next,
) -> Response {
    let (is_browser, back) = (wants_page(request.headers()), back_of(request.headers()));
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>().filter(|_| is_browser) else { return response };
    let came_in = response.extensions().get::<CameIn>().is_some();
    match interface.refusal(problem, came_in, &back).await {
        Err(_) => response,
        Ok(page) => {
            let (mut head, _) = response.into_parts();
            head.headers.remove(header::CONTENT_LENGTH);
            head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            Response::from_parts(head, Body::from(page))
        }
    }
}

fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")))
}

/// The path of the page that the request came from; browsers name it to pages of the same origin only.
fn back_of(headers: &HeaderMap) -> String {
    let from = headers.get(header::REFERER).and_then(|from| from.to_str().ok()).unwrap_or_default();
    let path = from.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
    path.filter(|path| !path.starts_with("//")).unwrap_or("/").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_never_leaves_this_host() {
        let back = |from: &str| back_of(&[(header::REFERER, from.parse().unwrap())].into_iter().collect());
        assert_eq!(back("http://127.0.0.1:7000/buckets/a?x=1"), "/buckets/a?x=1");
        for strange in ["http://127.0.0.1:7000", "http://127.0.0.1:7000//evil.example", "javascript:alert(1)", ""] {
            assert_eq!(back(strange), "/", "{strange}");
        }
    }
}
