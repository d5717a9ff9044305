//! Tests of `detect`: which endpoint is meant, by host and by path, and what of it is free.

use super::detect;
use crate::usage::Api;

#[test]
fn known_hosts_by_name_and_others_by_path() {
    for (host, path, provider, operation, category, api) in [
        ("api.openai.com", "/v1/chat/completions", "openai", "chat.completions", "system.openai", Api::Chat),
        ("eu.api.openai.com", "/v1/responses", "openai", "responses", "system.openai", Api::Responses),
        ("127.0.0.1", "/v1/chat/completions/", "openai", "chat.completions", "system.openai", Api::Chat),
        ("localhost", "/v1/messages", "anthropic", "messages", "system.anthropic", Api::Messages),
        ("api.anthropic.com", "/v1/messages", "anthropic", "messages", "system.anthropic", Api::Messages),
        (
            "api.groq.com",
            "/openai/v1/chat/completions",
            "groq",
            "chat.completions",
            "system.openai",
            Api::Chat,
        ),
        (
            "azure.gateway.internal",
            "/openai/deployments/gpt-4o-eu/chat/completions",
            "azure",
            "chat.completions",
            "system.azureopenai",
            Api::Chat,
        ),
        ("127.0.0.1", "/api/embed", "ollama", "embeddings", "system.openai", Api::Embeddings),
        ("127.0.0.1", "/api/chat", "ollama", "chat", "system.openai", Api::Unknown),
        (
            "acme.openai.azure.com",
            "/openai/deployments/gpt-4o-eu/chat/completions",
            "azure",
            "chat.completions",
            "system.azureopenai",
            Api::Chat,
        ),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            "google",
            "generate_content",
            "system.google.vertex",
            Api::Gemini,
        ),
        (
            "us-east5-aiplatform.googleapis.com",
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4@x:rawPredict",
            "google",
            "messages",
            "system.google.vertex",
            Api::Messages,
        ),
        (
            "notapi.openai.com.evil.example",
            "/pay",
            "notapi.openai.com.evil.example",
            "/pay",
            "system.openai",
            Api::Unknown,
        ),
        (
            "api.openai.com",
            "/v1/threads/t/messages",
            "openai",
            "/v1/threads/t/messages",
            "system.openai",
            Api::Unknown,
        ),
    ] {
        let found = detect("POST", host, path);
        assert_eq!(
            (&*found.provider, &*found.operation, &*found.category, found.api),
            (provider, operation, category, api),
            "{host}{path}"
        );
        assert!(!found.free);
        assert_eq!(found.accepts_stream_usage, host == "api.openai.com" && api == Api::Chat);
    }
    assert_eq!(detect("POST", "h", "/openai/deployments/eu/chat/completions").model.as_deref(), Some("eu"));
    assert_eq!(detect("POST", "h", "/models/gemini-x:generateContent").model.as_deref(), Some("gemini-x"));
    assert!(detect("GET", "api.openai.com", "/v1/models").free);
    assert!(detect("GET", "api.openai.com", "/v1/responses/resp_1").free);
    assert!(detect("POST", "api.anthropic.com", "/v1/messages/count_tokens").free);
}

#[test]
fn what_only_shows_keeps_ends_or_deletes_is_free() {
    for (method, path, operation, free) in [
        ("GET", "/v1/responses/resp_1", "responses.retrieve", true),
        ("DELETE", "/v1/responses/resp_1", "responses.delete", true),
        ("POST", "/v1/responses/resp_1/cancel", "responses.cancel", true),
        ("POST", "/v1/batches/b/cancel", "cancel", true),
        ("POST", "/v1/files", "files", true),
        ("POST", "/upload/v1beta/files", "files", true),
        ("POST", "/v1/uploads", "uploads", true),
        ("POST", "/v1/uploads/u/parts", "uploads", true),
        ("HEAD", "/v1/whatever", "/v1/whatever", true),
        ("POST", "/v1/batches", "/v1/batches", false),
        ("POST", "/v1/responses", "responses", false),
        ("POST", "/v1/chat/completions", "chat.completions", false),
    ] {
        let found = detect(method, "api.openai.com", path);
        assert_eq!((&*found.operation, found.free), (operation, free), "{method} {path}");
    }
}

#[test]
fn what_goes_through_pay_is_proxy_is_known_as_what_it_is() {
    for (path, provider, category, model, base) in [
        ("openai/v1/chat/completions", "openai", "system.openai", None, "openai/v1"),
        (
            "azure.openai/openai/deployments/eu/chat/completions",
            "azure",
            "system.azureopenai",
            Some("eu"),
            "azure.openai/openai",
        ),
        ("anthropic/v1/messages", "anthropic", "system.anthropic", None, "anthropic/v1"),
        (
            "azure.anthropic/anthropic/v1/messages",
            "anthropic",
            "system.azure",
            None,
            "azure.anthropic/anthropic/v1",
        ),
        (
            "aws.bedrock/model/us.amazon.nova-pro-v1%3A0/converse",
            "aws",
            "system.aws.bedrock",
            Some("us.amazon.nova-pro-v1:0"),
            "aws.bedrock",
        ),
    ] {
        for start in ["/api/v1/proxy/", "/eu/api/v1/proxy/"] {
            let whole = format!("{start}{path}");
            let found = detect("POST", "127.0.0.1", &whole);
            assert_eq!(
                (&*found.provider, &*found.category, found.model.as_deref()),
                (provider, category, model),
                "{whole}"
            );
            assert_eq!(&whole[..found.base], format!("{start}{base}"));
            assert!(!found.accepts_stream_usage);
        }
    }
    assert_eq!(&*detect("POST", "h", "/api/v1/proxy/other/chat/completions").provider, "openai");
}

#[test]
fn a_request_is_not_taken_for_the_one_before() {
    let told = |method, host, path| {
        let found = detect(method, host, path);
        (found.provider.to_string(), found.operation.to_string(), found.free)
    };
    for _ in 0..2 {
        let openai = |operation: &str, free| ("openai".to_owned(), operation.to_owned(), free);
        assert_eq!(told("POST", "api.openai.com", "/v1/responses/r-1"), openai("responses.retrieve", false));
        assert_eq!(told("GET", "api.openai.com", "/v1/responses/r-1"), openai("responses.retrieve", true));
        assert_eq!(
            told("GET", "api.openai.com", "/v1/responses/r-1/cancel"),
            openai("responses.cancel", true)
        );
        assert_eq!(told("POST", "api.groq.com", "/openai/v1/chat/completions").0, "groq");
        assert_eq!(told("POST", "api.groq.com.example", "/openai/v1/chat/completions").0, "openai");
    }
}
