//! Questions about who asks and what they may do.

use serde_json::{Value, json};

use crate::kinds::Review;
use crate::security::users::{Action, User, may, rules};
use crate::status::ApiResult;

/// Answers a review. `authenticate` tells whose a token is, and for what audiences.
pub(crate) fn answer(
    review: &Review,
    mut request: Value,
    user: &User,
    authenticate: impl Fn(&str) -> Option<(User, Vec<String>)>,
) -> ApiResult<Value> {
    let spec = request["spec"].clone();
    let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    match review.kind {
        "SelfSubjectReview" => request["status"] = json!({ "userInfo": user.to_json() }),
        "SelfSubjectRulesReview" => request["status"] = rules(user.role()),
        "SelfSubjectAccessReview" => {
            let of = &spec["resourceAttributes"];
            let (verb, group, resource, part) = (text(&of["verb"]), text(&of["group"]), text(&of["resource"]), text(&of["subresource"]));
            let (namespace, name) = (text(&of["namespace"]), text(&of["name"]));
            let (path, path_verb) = (text(&spec["nonResourceAttributes"]["path"]), text(&spec["nonResourceAttributes"]["verb"]));
            let action = if path.is_empty() {
                Action { verb: &verb, group: &group, resource: &resource, part: &part, namespace: &namespace, name: &name, path: "" }
            } else {
                Action { verb: &path_verb, path: &path, ..Action::default() }
            };
            request["status"] = json!({ "allowed": may(user.role(), &action) });
        }
        _ => {
            let token = text(&spec["token"]);
            request["status"] = match authenticate(&token) {
                Some((user, audiences)) => json!({ "authenticated": true, "user": user.to_json(), "audiences": audiences }),
                None => json!({ "authenticated": false, "user": {}, "error": "the token is not known or is over" }),
            };
            if let Some(spec) = request["spec"].as_object_mut() {
                spec.remove("token");
            }
        }
    }
    request["apiVersion"] = json!(format!("{}/v1", review.group));
    request["kind"] = json!(review.kind);
    Ok(request)
}
