//! Variables by which entry points of other images change their user. kestack changes none: an engine does, before anything
//! starts, and gives root's rights to nobody meanwhile.

use rustix::process::geteuid;

use crate::error::Error;
use crate::manifest::Environment;

/// Variables of a user, each with that of the group: those of MinIO's images, and those of many others.
const VARIABLES: [(&str, &str); 3] =
    [("MINIO_UID", "MINIO_GID"), ("PUID", "PGID"), ("MINIO_USERNAME", "MINIO_GROUPNAME")];
/// What they say of root.
const ROOT: [&str; 2] = ["0", "root"];

/// Refuses to run as root where a variable wants another user: everything on the drive would be root's.
///
/// # Errors
/// [`Error::Usage`] with the option of the engine.
pub(super) fn check(env: Environment<'_>) -> Result<(), Error> {
    if geteuid().is_root() { refuse(env) } else { Ok(()) }
}

fn refuse(env: Environment<'_>) -> Result<(), Error> {
    let said = |name: &str| env(name).filter(|value| !value.is_empty());
    let Some((name, user, group)) = VARIABLES.iter().find_map(|(name, group)| Some((name, said(name)?, said(group))))
    else {
        return Ok(());
    };
    if ROOT.contains(&user.as_str()) {
        return Ok(());
    }
    let is_number = |text: &String| text.parse::<u32>().is_ok();
    let hint = if is_number(&user) {
        let group = group.filter(is_number).unwrap_or_else(|| user.clone());
        format!(
            "run the container with `--user {user}:{group}` (`user: \"{user}:{group}\"` in Compose), or remove {name}"
        )
    } else {
        format!("run the container with the numbers of that user, such as `--user 1000:1000`, or remove {name}")
    };
    Err(Error::Usage {
        what: format!("{name}={user} asks for another user, and kestack, which changes none, runs as root"),
        hint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(variables: &[(&str, &str)]) -> Option<String> {
        let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let refused = refuse(&env).err()?;
        assert_eq!(refused.exit_code(), 2);
        Some(refused.to_string())
    }

    #[test]
    fn the_option_of_the_engine_is_named() {
        for (variables, option) in [
            (&[("PUID", "1000"), ("PGID", "100")][..], "`--user 1000:100`"),
            (&[("PUID", "1000")], "`--user 1000:1000`"),
            (&[("MINIO_UID", "1001"), ("MINIO_GID", "1002"), ("MINIO_USERNAME", "app")], "`--user 1001:1002`"),
            (&[("MINIO_USERNAME", "app"), ("MINIO_GROUPNAME", "app")], "numbers of that user"),
        ] {
            let said = said(variables).unwrap();
            assert!(said.contains(option) && said.contains(&format!("or remove {}", variables[0].0)), "{said}");
        }
        for variables in [&[][..], &[("PUID", "0")], &[("PUID", "")], &[("PGID", "100")], &[("MINIO_USERNAME", "root")]]
        {
            assert_eq!(said(variables), None, "{variables:?}");
        }
    }
}
