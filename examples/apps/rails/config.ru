require_relative "config/application"

App.initialize!
run App
