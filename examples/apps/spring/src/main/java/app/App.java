package app;

import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.http.MediaType;
import org.springframework.http.ResponseEntity;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.oauth2.core.oidc.user.OidcUser;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** Signs people in by Vestibule: / shows who is signed in, /logout asks by a button. */
@SpringBootApplication
@RestController
public class App {
    public static void main(String[] args) {
        SpringApplication.run(App.class, args);
    }

    @GetMapping("/")
    ResponseEntity<Map<String, Object>> home(@AuthenticationPrincipal OidcUser person) {
        Map<String, Object> seen = Map.of("signed_in", true, "claims", person.getIdToken().getClaims(), "userinfo", person.getUserInfo().getClaims());
        return ResponseEntity.ok().contentType(MediaType.APPLICATION_JSON).body(seen);
    }
}
