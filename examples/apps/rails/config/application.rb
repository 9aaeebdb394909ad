# What `rails new` makes, as far as this app needs it.
require "rails"
require "action_controller/railtie"
require "omniauth_openid_connect"
require "omniauth/rails_csrf_protection"

class App < Rails::Application
  config.root = File.expand_path("..", __dir__)
  config.eager_load = false
  config.secret_key_base = ENV.fetch("SECRET_KEY_BASE")
  config.hosts.clear
  config.logger = Logger.new($stderr)
  config.session_store :cookie_store, key: "rails_example"
end
