//! The opt-in time limit of exec hooks, by annotation.
//!
//! Upstream proposes a field `timeoutSeconds` in the exec action of a hook, where absent and 0 mean no limit; the API has no
//! such field yet, so an annotation of the pod says the same: one annotation for each container and hook, the container's
//! name after the slash, whole seconds as the value.
//!
//! ```yaml
//! metadata:
//!   annotations:
//!     post-start.timeout-seconds.usher.dev/app: "10"
//!     pre-stop.timeout-seconds.usher.dev/app: "5"
//! ```
//!
//! The name of a container fits behind the slash whatever its length. An annotation that cannot take effect is an error, never
//! passed over.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use lifecycle::Hook;

/// Everything before the container's name in the annotation for postStart hooks.
pub const POST_START_TIMEOUT_ANNOTATION: &str = "post-start.timeout-seconds.usher.dev/";
/// Everything before the container's name in the annotation for preStop hooks.
pub const PRE_STOP_TIMEOUT_ANNOTATION: &str = "pre-stop.timeout-seconds.usher.dev/";
/// What the proposed field could hold, in seconds.
const TIMEOUT_SECS_MAX: u32 = i32::MAX as u32;

/// A time limit for a hook that cannot take effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookTimeoutError {
    /// The value is no number of seconds.
    #[error("metadata.annotations[{annotation}]: {value:?} is not a whole number of seconds from 0 (no limit) to {TIMEOUT_SECS_MAX}")]
    Value {
        /// Its whole name.
        annotation: String,
        /// What it says.
        value: String,
    },
    /// No container has this name.
    #[error("metadata.annotations[{annotation}]: the pod has no container {container:?}")]
    NoContainer {
        /// Its whole name.
        annotation: String,
        /// The container that it names.
        container: String,
    },
    /// The container has no such hook, or one that runs no command.
    #[error("metadata.annotations[{annotation}]: container {container:?} has no {hook} hook of type exec, and only those can be limited")]
    NoExecHook {
        /// Its whole name.
        annotation: String,
        /// The container that it names.
        container: String,
        /// `postStart` or `preStop`.
        hook: Hook,
    },
}

/// The limits of a pod's exec hooks by container and hook; a limit of 0 is none.
pub(super) fn hook_timeouts(pod: &Pod) -> Result<BTreeMap<(String, Hook), Duration>, HookTimeoutError> {
    let mut limits = BTreeMap::new();
    for (annotation, value) in pod.metadata.annotations.iter().flatten() {
        let (hook, container) = match annotation.strip_prefix(POST_START_TIMEOUT_ANNOTATION) {
            Some(container) => (Hook::PostStart, container),
            None => match annotation.strip_prefix(PRE_STOP_TIMEOUT_ANNOTATION) {
                Some(container) => (Hook::PreStop, container),
                None => continue,
            },
        };
        let limit = limit(pod, annotation, value, container, hook)?;
        if !limit.is_zero() {
            limits.insert((container.to_owned(), hook), limit);
        }
    }
    Ok(limits)
}

fn limit(pod: &Pod, annotation: &str, value: &str, container: &str, hook: Hook) -> Result<Duration, HookTimeoutError> {
    let Some(spec) = containers(pod).find(|spec| spec.name == container) else {
        return Err(HookTimeoutError::NoContainer { annotation: annotation.to_owned(), container: container.to_owned() });
    };
    let lifecycle = spec.lifecycle.as_ref();
    let handler = match hook {
        Hook::PostStart => lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref()),
        Hook::PreStop => lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref()),
    };
    if handler.is_none_or(|handler| handler.exec.is_none()) {
        return Err(HookTimeoutError::NoExecHook { annotation: annotation.to_owned(), container: container.to_owned(), hook });
    }
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse::<u32>() {
        Ok(secs) if is_number && secs <= TIMEOUT_SECS_MAX => Ok(Duration::from_secs(u64::from(secs))),
        Ok(_) | Err(_) => Err(HookTimeoutError::Value { annotation: annotation.to_owned(), value: value.to_owned() }),
    }
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
}
