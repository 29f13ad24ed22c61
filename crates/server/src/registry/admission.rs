//! What the objects that are there say about one that is to be created: its namespace, and for a pod its account and its classes.
//!
//! Each check has the text of the reference's admission plugin of that name. Invariant: nothing is written here.

use api::priority::{Priority, PriorityClasses, SYSTEM_CLASSES, USER_PRIORITY_MAX};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{ListOptions, Registry};
use crate::kinds::{Kind, stored};
use crate::object;
use crate::status::{ApiError, ApiResult};

/// What the system's priority classes begin with.
const SYSTEM_PREFIX: &str = "system-";

/// The account of pods that name none.
const DEFAULT_ACCOUNT: &str = "default";

impl Registry {
    /// Whether the object may be made, and what others say that it has.
    pub(super) fn admit(&self, kind: &Kind, namespace: &str, object: &mut Value) -> ApiResult<()> {
        if kind.namespaced {
            self.admit_namespace(kind, namespace, object::name(object))?;
        }
        match kind.kind {
            // A mirror shows a pod that runs already.
            "Pod" if object::is_mirror(object) => self.admit_runtime_class(kind, object),
            "Pod" => {
                self.admit_account(kind, namespace, object)?;
                self.admit_priority(kind, object)?;
                self.admit_runtime_class(kind, object)
            }
            "PriorityClass" => self.admit_priority_class(kind, object),
            _ => Ok(()),
        }
    }

    fn admit_namespace(&self, kind: &Kind, namespace: &str, name: &str) -> ApiResult<()> {
        let namespaces = stored("namespaces");
        let Ok(owner) = self.stored(namespaces, "", namespace) else {
            return Err(ApiError::not_found(namespaces, namespace));
        };
        if object::is_terminating(&owner.value()) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut error = ApiError::forbidden(kind, name, &why);
            if let Some(details) = &mut error.details {
                let message = format!("namespace {namespace} is being terminated");
                details["causes"] = json!([{ "reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace" }]);
            }
            return Err(error);
        }
        Ok(())
    }

    /// A pod's account must be there, and may bring the secrets by which images are pulled. The namespace's own account is made with
    /// the namespace; a pod that is faster does not wait for it.
    fn admit_account(&self, kind: &Kind, namespace: &str, pod: &mut Value) -> ApiResult<()> {
        let given =
            ["serviceAccountName", "serviceAccount"].iter().find_map(|field| pod["spec"][field].as_str().filter(|name| !name.is_empty()));
        let account = given.unwrap_or(DEFAULT_ACCOUNT).to_owned();
        let found = self.stored(stored("serviceaccounts"), namespace, &account);
        if found.is_err() && account != DEFAULT_ACCOUNT {
            let why = format!("error looking up service account {namespace}/{account}: serviceaccount {account:?} not found");
            return Err(ApiError::forbidden(kind, object::name(pod), &why));
        }
        let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
        if let Ok(found) = found {
            let secrets = found.value()["imagePullSecrets"].take();
            if !is_empty(&secrets) && is_empty(&pod["spec"]["imagePullSecrets"]) {
                pod["spec"]["imagePullSecrets"] = secrets;
            }
        }
        pod["spec"]["serviceAccountName"] = json!(account);
        pod["spec"]["serviceAccount"] = json!(account);
        Ok(())
    }

    /// A pod has the priority that its class says.
    fn admit_priority(&self, kind: &Kind, pod: &mut Value) -> ApiResult<()> {
        // What does not fit is told by the type.
        let Ok(asked) = Priority::deserialize(&pod["spec"]) else { return Ok(()) };
        let mut classes = PriorityClasses::default();
        for class in self.list(stored("priorityclasses"), None, &ListOptions::default())?.items {
            classes.insert(&class.value());
        }
        let admitted = classes.admit(asked).map_err(|error| ApiError::forbidden(kind, object::name(pod), &error.to_string()))?;
        let spec = &mut pod["spec"];
        if let Some(class) = admitted.priority_class_name {
            spec["priorityClassName"] = json!(class);
        }
        spec["priority"] = json!(admitted.priority);
        spec["preemptionPolicy"] = json!(admitted.preemption_policy);
        Ok(())
    }

    fn admit_priority_class(&self, kind: &Kind, class: &Value) -> ApiResult<()> {
        let (name, value) = (object::name(class), class["value"].as_i64().unwrap_or_default());
        let is_of_system = SYSTEM_CLASSES.iter().any(|(known, of)| *known == name && i64::from(*of) == value);
        if name.starts_with(SYSTEM_PREFIX) && !is_of_system {
            let why = format!("priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only");
            return Err(ApiError::forbidden(kind, name, &why));
        }
        if !is_of_system && value > USER_PRIORITY_MAX {
            let why = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
            return Err(ApiError::forbidden(kind, name, &why));
        }
        if class["globalDefault"] == json!(true) {
            let classes = self.list(kind, None, &ListOptions::default())?.items;
            let default = classes.iter().map(|item| item.value()).find(|class| class["globalDefault"] == json!(true));
            if let Some(default) = default {
                let default = object::name(&default);
                let why = format!("PriorityClass {default} is already marked as default. Only one default can exist");
                return Err(ApiError::forbidden(kind, name, &why));
            }
        }
        Ok(())
    }

    /// A pod's RuntimeClass must be there, and says what the pod costs beside its containers.
    fn admit_runtime_class(&self, kind: &Kind, pod: &mut Value) -> ApiResult<()> {
        let name = object::name(pod).to_owned();
        let rejected = |why: &str| Err(ApiError::forbidden(kind, &name, &format!("pod rejected: {why}")));
        let asked = pod["spec"].get("overhead").cloned().filter(|overhead| overhead.as_object().is_some_and(|list| !list.is_empty()));
        let Some(class) = pod["spec"]["runtimeClassName"].as_str().map(ToOwned::to_owned) else {
            return match asked {
                Some(_) => rejected("Pod Overhead set without corresponding RuntimeClass defined Overhead"),
                None => Ok(()),
            };
        };
        let Ok(found) = self.stored(stored("runtimeclasses"), "", &class) else {
            return rejected(&format!("RuntimeClass {class:?} not found"));
        };
        let fixed = found.value()["overhead"].get("podFixed").cloned();
        match (asked, fixed) {
            (Some(asked), fixed) if fixed.as_ref() != Some(&asked) => {
                rejected("Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            }
            (None, Some(fixed)) => {
                pod["spec"]["overhead"] = fixed;
                Ok(())
            }
            (Some(_) | None, _) => Ok(()),
        }
    }
}
