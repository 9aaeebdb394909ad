class SessionsController < ActionController::Base
  def show
    render json: session[:person] ? { signed_in: true, claims: session[:person] } : { signed_in: false }
  end

  def new
    render html: helpers.button_to("Sign in", "/auth/openid_connect", data: { turbo: false })
  end

  def create
    auth = request.env["omniauth.auth"]
    reset_session
    session[:person] = auth.extra.raw_info.slice("iss", "sub", "org_id", "org_handle", "name", "email") # the key of an account is sub and org_id
    session[:id_token] = auth.credentials.id_token
    redirect_to root_path
  end

  def ask
    render html: helpers.button_to("Sign out", "/logout", data: { turbo: false })
  end

  def destroy
    back = { id_token_hint: session[:id_token], post_logout_redirect_uri: root_url }
    reset_session
    redirect_to "#{ENV.fetch("OIDC_ISSUER")}/logout?#{back.to_query}"
  end

  def failure
    render json: { message: params[:message] }, status: :unauthorized
  end
end
