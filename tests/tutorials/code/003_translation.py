translator = pipeline("translation", model="Helsinki-NLP/opus-mt-es-en")

def translate_text(text):
    result = translator(text)
    return result[0]['translation_text']
