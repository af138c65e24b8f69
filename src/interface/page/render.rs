//! Templates into HTML. Whatever a template writes out is escaped: names of objects are strangers' input.

use std::sync::OnceLock;

use tera::{Context, Kwargs, State, Tera, TeraResult};

use crate::error::Error;
use crate::template::TemplateError;

/// All templates, by the names that they call each other. The suffix has Tera escape what they write.
const TEMPLATES: [(&str, &str); 14] = [
    ("base.html", include_str!("../../../templates/page/base.html")),
    ("bench.html", include_str!("../../../templates/page/bench.html")),
    ("bucket.html", include_str!("../../../templates/page/bucket.html")),
    ("buckets.html", include_str!("../../../templates/page/buckets.html")),
    ("faults.html", include_str!("../../../templates/page/faults.html")),
    ("keys.html", include_str!("../../../templates/page/keys.html")),
    ("live.html", include_str!("../../../templates/page/live.html")),
    ("object.html", include_str!("../../../templates/page/object.html")),
    ("overview.html", include_str!("../../../templates/page/overview.html")),
    ("picture.html", include_str!("../../../templates/page/picture.html")),
    ("proof.html", include_str!("../../../templates/page/proof.html")),
    ("refused.html", include_str!("../../../templates/page/refused.html")),
    ("sandboxes.html", include_str!("../../../templates/page/sandboxes.html")),
    ("snapshots.html", include_str!("../../../templates/page/snapshots.html")),
];

static TERA: OnceLock<Result<Tera, String>> = OnceLock::new();

/// Renders one of them.
///
/// # Errors
/// [`Error::Template`] if a template is broken.
pub(super) fn render(template: &'static str, context: &Context) -> Result<String, Error> {
    let broken = |reason: String| Error::Template(TemplateError::Render { template, reason });
    let tera = TERA.get_or_init(load).as_ref().map_err(|reason| broken(reason.clone()))?;
    tera.render(template, context).map_err(|error| broken(error.to_string()))
}

fn load() -> Result<Tera, String> {
    let mut tera = Tera::default();
    tera.register_filter("size", size);
    tera.register_filter("query", query);
    tera.add_raw_templates(TEMPLATES).map_err(|error| error.to_string())?;
    Ok(tera)
}

/// Bytes for people.
#[expect(clippy::unnecessary_wraps, reason = "the form of a filter")]
fn size(bytes: u64, _: Kwargs, _: &State<'_>) -> TeraResult<String> {
    Ok(indicatif::BinaryBytes(bytes).to_string())
}

/// A value in the query of a link.
#[expect(clippy::unnecessary_wraps, reason = "the form of a filter")]
fn query(value: &str, _: Kwargs, _: &State<'_>) -> TeraResult<String> {
    Ok(form_urlencoded::byte_serialize(value.as_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_templates_are_complete_and_escape_what_they_write() {
        let tera = load().unwrap();
        let mut context = Context::new();
        context.insert("name", "<script>\"'&");
        let written = |text: &str| tera.render_str(text, &context, true).unwrap();
        assert_eq!(written("{{ name | query }}"), "%3Cscript%3E%22%27%26");
        assert!(!written("<p title=\"{{ name }}\">").contains("<script"));
        assert_eq!(written("{{ 12288 | size }}"), "12.00 KiB");
    }

    #[test]
    fn the_page_is_light() {
        let templates: usize = TEMPLATES.iter().map(|(_, text)| text.len()).sum();
        let assets: usize = super::super::assets::ALL.iter().map(|(_, _, text)| text.len()).sum();
        assert!(templates + assets < 100_000, "{templates} + {assets} bytes");
    }
}
