"""Look at labelled data that nobody prepared, and draft a recipe from it: `draft.draft` is the way in."""
