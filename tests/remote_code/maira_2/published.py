"""The usage of MAIRA-2's model card, step by step: published.py FOLDER CASES prints a text a line, as JSON.

CASES is a JSON list of the keyword arguments of format_and_preprocess_reporting_input, images as paths.
"""

import json
import sys

import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoProcessor

folder, cases = sys.argv[1], json.loads(sys.argv[2])
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval().to(torch.device("cpu"))
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
for case in cases:
    for name in ("current_frontal", "current_lateral", "prior_frontal"):
        case[name] = Image.open(case[name]) if case[name] else None
    inputs = processor.format_and_preprocess_reporting_input(**case, return_tensors="pt", get_grounding=False)
    inputs = inputs.to(torch.device("cpu"))
    with torch.no_grad():
        output = model.generate(**inputs, max_new_tokens=300, use_cache=True)
    new = output[0][inputs["input_ids"].shape[-1] :]
    text = processor.decode(new, skip_special_tokens=True).lstrip()
    print(json.dumps(processor.convert_output_to_plaintext_or_grounded_sequence(text)))
