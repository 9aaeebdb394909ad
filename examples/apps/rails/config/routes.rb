Rails.application.routes.draw do
  root "sessions#show"
  get "login", to: "sessions#new"
  get "auth/openid_connect/callback", to: "sessions#create"
  get "auth/failure", to: "sessions#failure"
  get "logout", to: "sessions#ask"
  post "logout", to: "sessions#destroy"
end
