//! What a guardrail of Bedrock's did with a call, as the trace in the answer says it.
//!
//! AWS bills a guardrail by units of text for each of its policies, apart from the model's tokens. Like Pay-i's own SDK
//! we report what the assessment of the input counted; a trace is in an answer only if the request asked for it.

use serde::{Deserialize, Serialize};

use crate::usage::{
    Reading,
    answer::count,
    keys::Key,
    pick::Picker,
    tree::{Object, Tree, Value},
};

/// What a guardrail of Bedrock's did with a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Guardrail {
    /// The guardrail that the request names.
    pub id: Option<Box<str>>,
    /// Its version.
    pub version: Option<Box<str>>,
    /// What it did (`guardrail_intervened`); `None` if it let everything pass.
    pub action: Option<Box<str>>,
    /// Units of text by policy, in Pay-i's names (`guardrail_topic`); none is zero.
    pub units: Vec<(Box<str>, u64)>,
}

/// AWS' names of a policy's units, and Pay-i's.
const UNITS: [(&str, &str); 8] = [
    ("topicPolicyUnits", "guardrail_topic"),
    ("contentPolicyUnits", "guardrail_content"),
    ("wordPolicyUnits", "guardrail_word_free"),
    ("automatedReasoningPolicyUnits", "guardrail_automated_reasoning"),
    ("sensitiveInformationPolicyUnits", "guardrail_sensitive_information"),
    ("sensitiveInformationPolicyFreeUnits", "guardrail_sensitive_information_free"),
    ("contextualGroundingPolicyUnits", "guardrail_contextual_grounding"),
    ("contentPolicyImageUnits", "guardrail_content_image"),
];

/// Takes in what one document says of a guardrail.
pub(crate) fn absorb(picked: &Picker<Key>, reading: &mut Reading) {
    let action = picked.text(Key::Stop).filter(|stop| &**stop == "guardrail_intervened");
    let action = action.or_else(|| picked.text(Key::Guarded).filter(|action| &**action == "INTERVENED"));
    if let Some(action) = action {
        reading.guardrail.get_or_insert_default().action = Some(action);
    }
    let units = picked.last(Key::Trace).map(units).unwrap_or_default();
    if !units.is_empty() {
        reading.guardrail.get_or_insert_default().units = units;
    }
}

/// What the assessments of the input counted, added up.
fn units(trace: &[u8]) -> Vec<(Box<str>, u64)> {
    let tree = Tree::read(trace);
    let guardrail = tree.as_ref().and_then(Tree::object).and_then(|trace| trace.get("guardrail"));
    let Some(guardrail) = guardrail.and_then(Value::as_object) else { return Vec::new() };
    // Converse's name, and InvokeModel's.
    let input =
        guardrail.get("inputAssessment").or_else(|| guardrail.get("input")).and_then(Value::as_object);
    let usages: Vec<Object<'_>> = input.into_iter().flat_map(Object::values).filter_map(usage).collect();
    let of = |key| usages.iter().fold(0_u64, |sum, usage| sum.saturating_add(count(*usage, key)));
    let named = UNITS.into_iter().map(|(aws, pay_i)| (pay_i.into(), of(aws)));
    named.filter(|(_, units)| *units > 0).collect()
}

fn usage(assessment: Value<'_>) -> Option<Object<'_>> {
    let metrics = assessment.as_object()?.get("invocationMetrics")?;
    metrics.as_object()?.get("usage")?.as_object()
}

/// The guardrail that a request's body asks for, under `guardrailConfig`.
#[cfg(feature = "_http")]
pub(crate) fn configured(body: &[u8]) -> Option<Guardrail> {
    use crate::usage::{
        answer::label,
        pick::{Rule, Rules, Then},
    };
    const CONFIG: &Rules<()> =
        &Rules::new(&[Rule { level: 0, key: "guardrailConfig", then: Then::Keep(()) }]);
    let picked = Picker::over(CONFIG, body);
    let tree = Tree::read(picked.last(())?)?;
    let config = tree.object()?;
    let text = |key| label(config.get(key));
    Some(Guardrail {
        id: text("guardrailIdentifier"),
        version: text("guardrailVersion"),
        ..Guardrail::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests")]

    use crate::usage::{Api, Meter};

    #[test]
    fn units_are_read_from_converse_and_from_invoke_model() {
        let metrics = r#"{"invocationMetrics":{"usage":{"topicPolicyUnits":1,"wordPolicyUnits":0,"contentPolicyUnits":2}}}"#;
        let converse = format!(
            r#"{{"stopReason":"guardrail_intervened","usage":{{"inputTokens":0,"outputTokens":0,"totalTokens":0}},
               "trace":{{"guardrail":{{"modelOutput":["x"],"inputAssessment":{{"a":{metrics},"b":{metrics}}}}}}}}}"#
        );
        let invoke = format!(
            r#"{{"amazon-bedrock-guardrailAction":"INTERVENED","amazon-bedrock-trace":{{"guardrail":{{"input":{{"a":{metrics}}}}}}}}}"#
        );
        for (text, action, times) in [(converse, "guardrail_intervened", 2), (invoke, "INTERVENED", 1)] {
            let mut meter = Meter::json(Api::Unknown);
            meter.push(text.as_bytes());
            let guardrail = meter.finish().guardrail.expect("a guardrail");
            assert_eq!(guardrail.action.as_deref(), Some(action));
            let expected = [("guardrail_topic".into(), times), ("guardrail_content".into(), 2 * times)];
            assert_eq!(guardrail.units, expected);
        }
    }

    #[test]
    fn an_answer_without_a_guardrail_says_nothing_of_one() {
        for text in
            [r#"{"stopReason":"end_turn","trace":null}"#, r#"{"stopReason":7,"trace":{"guardrail":[]}}"#]
        {
            let mut meter = Meter::json(Api::Unknown);
            meter.push(text.as_bytes());
            assert_eq!(meter.finish().guardrail, None);
        }
    }
}
