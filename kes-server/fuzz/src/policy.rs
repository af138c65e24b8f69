//! Names, patterns and decisions (docs/kes-protocol.md §1.6, §3.4).

use kes_server::auth::{Access, AssignError, Decision, Identity, KeyName, ListPattern, Policy, is_valid_name};

/// A line is a rule of the policy (`+` allows, `-` denies), who has it (`@`), or else a name, a pattern and a path.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (mut policy, mut holders, mut others) = (Policy::default(), Vec::new(), Vec::new());
    for line in text.split('\n') {
        match line.split_at_checked(1) {
            Some(("+", rule)) => policy.allow.push(rule.to_owned()),
            Some(("-", rule)) => policy.deny.push(rule.to_owned()),
            Some(("@", holder)) => holders.push(holder),
            _ => others.push(line),
        }
    }
    for other in &others {
        names(other, &others);
        decisions(&policy, other);
    }
    assignments(&holders);
}

fn names(text: &str, others: &[&str]) {
    let valid = is_name(text);
    assert_eq!(is_valid_name(text), valid, "{text:?}");
    assert_eq!(text.parse::<KeyName>().ok().map(|name| name.to_string()), valid.then(|| text.to_owned()));
    let pattern = text.parse::<ListPattern>();
    // a star at the end is as good as another character there
    let as_name = text.strip_suffix('*').map(|start| format!("{start}x"));
    let expected = text.is_empty() || is_name(as_name.as_deref().unwrap_or(text));
    assert_eq!(pattern.is_ok(), expected, "{text:?}");
    let Ok(pattern) = pattern else { return };
    assert_eq!(pattern.prefix(), text.trim_end_matches('*'));
    for other in others {
        assert_eq!(pattern.matches(other), other.strip_prefix(pattern.prefix()).is_some(), "{text:?} {other:?}");
    }
}

/// 1–80 of these characters; `-` neither first nor last; not `_` alone.
fn is_name(text: &str) -> bool {
    const CHARACTERS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    let alone = text == "_" || text.starts_with('-') || text.ends_with('-');
    !text.is_empty() && text.len() <= 80 && !alone && text.chars().all(|c| CHARACTERS.contains(c))
}

fn decisions(policy: &Policy, path: &str) {
    let (admin, holder) = (Identity::new("admin"), Identity::new("holder"));
    let policies = [("policy".to_owned(), policy.clone(), vec![holder.clone()])];
    let access = Access::new(admin.clone(), policies).unwrap();
    let any = |rules: &[String]| rules.iter().any(|rule| applies(&mut rule.chars(), &mut path.chars()));
    let allowed = !any(&policy.deny) && any(&policy.allow);
    let decision = access.decide(&holder, path);
    assert_eq!(decision.is_allowed(), allowed, "{path:?} {policy:?}");
    match decision {
        Decision::Denied { rule, .. } => assert!(policy.deny.iter().any(|own| own == rule)),
        Decision::Allowed { rule, .. } => assert!(policy.allow.iter().any(|own| own == rule)),
        other => assert_eq!(other, Decision::NotAllowed { policy: "policy" }),
    }
    assert_eq!(access.decide(&admin, path), Decision::Admin);
    for nobody in ["", "nobody", "Holder", "policy"] {
        assert_eq!(access.decide(&Identity::new(nobody), path), Decision::UnknownIdentity);
    }
}

/// Character by character: a star that is the last one takes whatever is left.
fn applies(rule: &mut std::str::Chars<'_>, path: &mut std::str::Chars<'_>) -> bool {
    let mut is_first = true;
    loop {
        if rule.as_str() == "*" {
            return true;
        }
        match (rule.next(), path.next()) {
            (None, None) => return !is_first,
            (one, other) if one != other => return false,
            _ => is_first = false,
        }
    }
}

/// Nobody is named twice, and everybody has a name.
fn assignments(holders: &[&str]) {
    let identities = holders.iter().map(|holder| Identity::new(*holder)).collect();
    let mut expected = Ok(());
    for (index, holder) in holders.iter().enumerate() {
        if !is_name(holder) {
            expected = Err(format!("kes: identity '{holder}' is empty, too long or contains invalid characters"));
        } else if holders[..index].contains(holder) {
            expected = Err(format!("kes: cannot assign policy 'p' to '{holder}': identity already has a policy"));
        }
        if expected.is_err() {
            break;
        }
    }
    let access = Access::new(Identity::new("admin"), [("p".to_owned(), Policy::default(), identities)]);
    assert_eq!(access.map(drop).map_err(|error: AssignError| error.to_string()), expected);
}
