from flask import Flask, request, jsonify
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
import os

# Obtiene la ruta absoluta del directorio actual
CURRENT_DIR = os.path.dirname(os.path.abspath(__file__))

# Carpeta del modelo dentro del directorio actual
MODEL_FOLDER = 'longformer-base-4096-spanish-finetuned-squad_9_10_trainer3'

# Ruta completa al modelo
MODEL_PATH = os.path.join(CURRENT_DIR, MODEL_FOLDER)

#Carga la arquitectura del modelo en una varable python
model = AutoModelForQuestionAnswering.from_pretrained(MODEL_PATH)

#Sube los archivos relacionados a la arquitectura del modelo a la dirección del repositorio que se ha creado
model.push_to_hub("nombreUsuario/nombreRepositorio")

#Carga los pesos del modelo
tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)

#Sube los archivos relacionados a los pesos del modelo a la dirección del repositorio que se ha creado
tokenizer.push_to_hub("nombreUsuario/nombreRepositorio")
