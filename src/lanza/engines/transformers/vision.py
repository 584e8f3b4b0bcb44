"""Images through transformers: their class, the objects in them, their segments, and texts about them.

The model held here: a picture becomes the tensors that the folder's image processor makes (through Pillow and
numpy), one pass of the model or its generation loop follows, and each row is read as its request asks.
Captions are for the families that write with no words given first; one that wants a prompt is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from lanza.engines.base import EngineOptions
from lanza.engines.transformers import segmentation
from lanza.engines.transformers.loading import load_model, load_tokenizer
from lanza.engines.transformers.media import (
    MediaEngine,
    Piece,
    labels_of,
    load_image_processor,
    make_work,
    patches,
    preprocessing,
)
from lanza.engines.transformers.writing import bounded, decoder_positions
from lanza.errors import ModelError
from lanza.tasks.image import read_image
from lanza.tasks.image_classification import ImageClassificationParameters, answer
from lanza.tasks.image_segmentation import ImageSegmentationParameters
from lanza.tasks.image_to_text import GeneratedText, ImageToTextBody, arguments
from lanza.tasks.object_detection import THRESHOLD, Box, Detection, ObjectDetectionParameters, probability
from lanza.tasks.text_classification import check_top_k
from lanza.tasks.work import Work

Read = Callable[[Any], Any]
Reader = Callable[[Any, tuple[int, int]], Read]
"""From a request's parameters and its image's (height, width) to the reading of the model's output."""

_CAPTIONING: Final = frozenset({"blip", "blip-2", "git", "pix2struct", "vision-encoder-decoder"})


class VisionEngine(MediaEngine):
    """Image classification, object detection and image segmentation."""

    def __init__(self, options: EngineOptions) -> None:
        task = options.task.name if options.task else str(options.facts.task)
        super().__init__(options, load_model(options, _auto_class(task, options)))
        self._processor = load_image_processor(options)
        self._labels = labels_of(self.model.config)
        self._config = self.model.config.to_dict()
        readers: dict[str, Reader] = {
            "image-classification": self._classification,
            "object-detection": self._detection,
            "image-segmentation": self._segmentation,
        }
        self._reader = readers[task]

    def prepare(self, body: Any) -> Work:
        image = read_image(body.inputs)
        read = self._reader(body.parameters, (image.height, image.width))
        with preprocessing("this image"):
            tensors = dict(self._processor(images=image, return_tensors="pt"))
        return make_work(tensors, read, cost=patches(tensors))

    def _classification(self, given: ImageClassificationParameters | None, size: tuple[int, int]) -> Read:
        parameters = given or ImageClassificationParameters()
        check_top_k(parameters.top_k)

        def read(outputs: Any) -> Any:
            return answer(
                outputs.logits[0].numpy(),
                self._labels,
                self._config,
                function_to_apply=parameters.function_to_apply,
                top_k=parameters.top_k,
            )

        return read

    def _detection(self, given: ObjectDetectionParameters | None, size: tuple[int, int]) -> Read:
        threshold = probability(given.threshold if given else None, THRESHOLD, what="threshold")

        def read(outputs: Any) -> Any:
            found = self._processor.post_process_object_detection(
                outputs, threshold=threshold, target_sizes=[size]
            )[0]
            rows = zip(
                found["scores"].tolist(), found["labels"].tolist(), found["boxes"].tolist(), strict=True
            )
            return [
                Detection(label=self._name(number), score=score, box=_box(corners))
                for score, number, corners in sorted(rows, key=lambda row: -row[0])
            ]

        return read

    def _segmentation(self, given: ImageSegmentationParameters | None, size: tuple[int, int]) -> Read:
        reading = segmentation.Reading.of(given or ImageSegmentationParameters(), self._processor)
        return lambda outputs: segmentation.segments(
            outputs, self._processor, reading, size=size, labels=self._labels
        )

    def _name(self, number: int) -> str:
        return self._labels[number] if number < len(self._labels) else str(number)


class ImageToTextEngine(MediaEngine):
    """Captions, alternative texts, recognised text."""

    def __init__(self, options: EngineOptions) -> None:
        family = options.facts.model_type
        if family not in _CAPTIONING:
            raise ModelError(
                f"{family} models write about an image only with a prompt, which image-to-text has none of; "
                f"served are {', '.join(sorted(_CAPTIONING))}. Wrap this one in a handler.py."
            )
        super().__init__(options, load_model(options, "AutoModelForImageTextToText"))
        self._processor = load_image_processor(options)
        self._tokenizer = load_tokenizer(options)
        self._positions = decoder_positions(self.model)

    def prepare(self, body: ImageToTextBody) -> Work:
        asked = bounded(arguments(body.parameters), self.model, positions=self._positions)
        image = read_image(body.inputs)
        with preprocessing("this image"):
            tensors = dict(self._processor(images=image, return_tensors="pt"))
        return make_work(tensors, _generated, cost=patches(tensors), arguments=asked)

    def run(self, pieces: Sequence[Piece]) -> Sequence[Any]:
        ids = self.model.generate(**self.gather(pieces), **pieces[0].arguments)
        texts = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [piece.read(text) for piece, text in zip(pieces, texts, strict=True)]


def _generated(text: str) -> list[GeneratedText]:
    return [GeneratedText(generated_text=text.strip())]


def _box(corners: Sequence[float]) -> Box:
    xmin, ymin, xmax, ymax = (int(value) for value in corners)
    return Box(xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)


def _auto_class(task: str, options: EngineOptions) -> str:
    if task == "image-classification":
        return "AutoModelForImageClassification"
    architecture = options.facts.architecture or ""
    if architecture.endswith("ForSegmentation"):
        return "AutoModelForImageSegmentation"  # boxes and masks from one model
    if task == "object-detection":
        return "AutoModelForObjectDetection"
    if options.facts.model_type == "oneformer":
        raise ModelError("oneformer wants its task in words beside the image: wrap it in a handler.py.")
    if architecture.endswith("ForSemanticSegmentation"):
        return "AutoModelForSemanticSegmentation"
    instance = architecture.endswith("ForInstanceSegmentation")
    return "AutoModelForInstanceSegmentation" if instance else "AutoModelForUniversalSegmentation"
