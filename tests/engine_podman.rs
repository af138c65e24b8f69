//! The engine contract against a real Podman.

mod contract;

use kestack::unstable::manifest::EngineKind;

contract! { EngineKind::Podman;
    a_pod_lives_and_dies
    an_ended_program_leaves_its_code_and_its_words
    a_taken_port_is_explained_and_leaves_nothing
    a_port_of_another_pod_is_explained
    what_is_missing_is_said
}
