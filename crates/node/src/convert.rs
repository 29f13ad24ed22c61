//! The two places where Kubernetes objects and the machine's plain words meet: a Pod goes in, a PodStatus comes out.

mod containers;
mod happening;
mod hook_timeout;
mod qos;
pub(crate) mod resources;
mod spec;
mod status;

pub use containers::{container_of, ephemeral_container};
pub use happening::{happening, moment};
pub use hook_timeout::{HookTimeoutError, POST_START_TIMEOUT_ANNOTATION, PRE_STOP_TIMEOUT_ANNOTATION};
pub use qos::{QosClass, qos_class};
pub use spec::{PodSpecError, pod_spec};
pub use status::{StatusContext, has_readiness_gates, pod_status, regated_status, same_conditions_of_others, with_conditions_of_others};
