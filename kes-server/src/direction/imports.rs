//! Reads which modules of a crate import which, and holds them against a table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Which module may import which.
pub(super) struct Rules {
    /// Each module, and the modules that it imports. All of those are further up: there is no cycle.
    pub(super) table: &'static [(&'static str, &'static [&'static str])],
    /// Modules that nothing imports.
    pub(super) outside: &'static [&'static str],
}

impl Rules {
    /// Compares the table with the imports of all files in a crate's `src/`.
    pub(super) fn check(&self, src: &Path) {
        let mut found = BTreeMap::new();
        read(src, 0, None, &mut found);
        found.retain(|module, _| !self.outside.contains(&module.as_str()));
        let table: BTreeMap<_, BTreeSet<_>> = self
            .table
            .iter()
            .map(|(module, others)| ((*module).to_owned(), others.iter().map(|other| (*other).to_owned()).collect()))
            .collect();
        assert_eq!(found, table, "left: the imports that there are; right: the table");
        for (index, (module, others)) in self.table.iter().enumerate() {
            let above: Vec<_> = self.table.iter().take(index).map(|(module, _)| *module).collect();
            assert!(others.iter().all(|other| above.contains(other)), "{module} imports one that stands below it");
        }
    }
}

/// The modules of the crate that a file of one imports; `depth` is how deep it is in the crate.
fn imports(text: &str, depth: usize) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.split("#[cfg(test)]mod tests {").next().unwrap();
    let mut found = BTreeSet::new();
    let root = "super::".repeat(depth);
    for prefix in ["crate::", root.as_str()] {
        for (start, _) in code.match_indices(prefix) {
            // a longer name, or a longer chain of the same
            let before = code[..start].chars().next_back();
            if before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '_' | ':')) {
                continue;
            }
            found.extend(names(&code[start + prefix.len()..]));
        }
    }
    found
}

/// The first segments of `name::…` or `{name::…, name::{…}}`.
fn names(text: &str) -> Vec<String> {
    let first =
        |text: &str| -> String { text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(list) = text.strip_prefix('{') else { return vec![first(text)] };
    let (mut depth, mut names, mut item) = (0, Vec::new(), String::new());
    for char in list.chars() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(first(&std::mem::take(&mut item))),
            char if depth == 0 => item.push(char),
            _ => {}
        }
    }
    names.push(first(&item));
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

/// What each module imports, from its files. Tests may import what they like.
fn read(folder: &Path, depth: usize, module: Option<&str>, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module = module.unwrap_or(name);
        if path.is_dir() {
            read(&path, depth + 1, Some(module), found);
        } else if name != "tests" && path.extension().is_some_and(|end| end == "rs") {
            let depth = depth + usize::from(name != "mod");
            let imported = imports(&fs::read_to_string(&path).unwrap(), depth);
            found.entry(module.to_owned()).or_default().extend(imported.into_iter().filter(|one| one != module));
        }
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::{auth::{Access, Rule}, config::Level};\n// crate::never\nfn f() { crate::json::decode() }\n";
    assert_eq!(imports(text, 1), ["auth", "config", "json"].map(str::to_owned).into());
    assert_eq!(imports("use super::super::log::Log; use super::near;", 2), ["log".to_owned()].into());
    assert_eq!(imports("#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n", 1), [].into());
}
