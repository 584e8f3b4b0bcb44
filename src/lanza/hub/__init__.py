"""The Hub: repositories of models, datasets and spaces, behind the API that Hugging Face's clients speak."""
