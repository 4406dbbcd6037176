"""One page that says what a sweep found: `gather` reads it, `wording` says it, `page` shows it. `facts` is what they share."""
