SWD.url_builder = URI::HTTP if ENV.fetch("OIDC_ISSUER").start_with?("http:") # while you develop: discovery is by https otherwise
Rails.application.config.middleware.use OmniAuth::Builder do
  provider :openid_connect, {
    issuer: ENV.fetch("OIDC_ISSUER"), discovery: true, pkce: true,
    scope: %i[openid profile email], response_type: :code, uid_field: "sub",
    client_options: {
      identifier: ENV.fetch("OIDC_CLIENT_ID"), secret: ENV.fetch("OIDC_CLIENT_SECRET"),
      redirect_uri: ENV.fetch("OIDC_REDIRECT_URI"),
    },
  }
end
