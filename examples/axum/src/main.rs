//! A service on axum: who signed in is who its provider calls are for.
//!
//! ```sh
//! OPENAI_API_KEY=… cargo run -p payi-example-axum
//! curl -H 'authorization: Bearer ada' -d 'Why is the sky blue?' http://127.0.0.1:3000/ask
//! payi users
//! ```
//!
//! The order of the two layers is the point. axum runs the layer added *last* first: `sign_in` finds out
//! who is asking and leaves it in the request's extensions, then the context layer reads it there.

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::post,
};
use payi::tower::ContextLayer;
use serde_json::json;

/// Who is asking: what sign-in found out.
#[derive(Clone, Debug)]
struct Account {
    user: String,
    tenant: String,
}

#[derive(Clone)]
struct App {
    http: payi::reqwest::Client,
    /// The provider's base address, with `/v1`.
    provider: String,
    key: String,
}

fn router(app: App) -> Router {
    let for_the_account = ContextLayer::new(|request: &Request| {
        let account = request.extensions().get::<Account>();
        payi::context().user_id(account.map(|it| &it.user)).account_name(account.map(|it| &it.tenant))
    });
    Router::new()
        .route("/ask", post(ask))
        .layer(for_the_account)
        .layer(middleware::from_fn(sign_in))
        .with_state(app)
}

/// Stands in for a real one: the bearer token is the user's name.
async fn sign_in(mut request: Request, next: Next) -> Result<Response, StatusCode> {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let user = token.and_then(|it| it.strip_prefix("Bearer ")).ok_or(StatusCode::UNAUTHORIZED)?;
    let account = Account { user: user.to_owned(), tenant: "acme".to_owned() };
    request.extensions_mut().insert(account);
    Ok(next.run(request).await)
}

/// Knows nothing of users: the scope around it does.
#[payi::track(use_case_name = "ask")]
async fn ask(State(app): State<App>, question: String) -> Result<String, StatusCode> {
    let body = json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": question }] });
    let request = app.http.post(format!("{}/chat/completions", app.provider)).bearer_auth(&app.key);
    let sent = request.json(&body).send().await;
    let answer = sent.map_err(|_| StatusCode::BAD_GATEWAY)?;
    answer.text().await.map_err(|_| StatusCode::BAD_GATEWAY)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().start()?;
    let app = App {
        http: payi::reqwest::Client::new(),
        provider: std::env::var("OPENAI_BASE_URL").unwrap_or_else(|_| "https://api.openai.com/v1".to_owned()),
        key: std::env::var("OPENAI_API_KEY")?,
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, router(app)).await?;
    drop(payi);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use axum::body::Body;
    use payi::testing::{Provider, Recorder};
    use tower::ServiceExt as _;

    use super::*;

    fn asked_by(user: &str) -> Request {
        let request = Request::post("/ask").header(header::AUTHORIZATION, format!("Bearer {user}"));
        request.body(Body::from("Why?")).unwrap()
    }

    #[tokio::test]
    async fn each_request_is_its_users() {
        let provider = Provider::start().unwrap();
        let app = router(App {
            http: payi::reqwest::Client::new(),
            provider: format!("{}/v1", provider.url()),
            key: "sk-test".to_owned(),
        });
        let recorder = Recorder::new();
        let answers = recorder.scope(async {
            tokio::join!(app.clone().oneshot(asked_by("ada")), app.clone().oneshot(asked_by("bob")))
        });
        let (ada, bob) = answers.await;
        assert_eq!((ada.unwrap().status(), bob.unwrap().status()), (StatusCode::OK, StatusCode::OK));
        let of = |event: &payi::events::Event| {
            let context = event.context.resolve();
            (context.user_id.unwrap().to_string(), context.account_name.unwrap().to_string())
        };
        let mut users: Vec<_> = recorder.events().iter().map(of).collect();
        users.sort();
        assert_eq!(users, [("ada".to_owned(), "acme".to_owned()), ("bob".to_owned(), "acme".to_owned())]);
    }

    #[tokio::test]
    async fn who_has_not_signed_in_is_turned_away() {
        let app = App { http: payi::reqwest::Client::new(), provider: String::new(), key: String::new() };
        let answer = router(app).oneshot(Request::post("/ask").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
}
