"""Words of the demo's reports: a small grammar, written for this project.

``[a|b]`` is a choice (it nests), ``{slot}`` is filled in. Noun phrases carry no article; one that begins with ``~`` is
plural, with ``!`` takes no article.
"""

# ruff: noqa: E501 -- a template reads best on one line

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """How one finding is said."""

    label: str
    """CheXpert's label it stands for, or ""."""
    noun: tuple[str, ...]
    seen: tuple[str, ...]
    """Sentences that state it."""
    both: tuple[str, ...] = ()
    """Noun phrases of a bilateral finding."""
    seen_both: tuple[str, ...] = ()
    impression: bool = True
    """Whether an impression may repeat it."""
    device: bool = False


GRADES: Mapping[str, Mapping[str, str]] = {
    "effusion": {
        "small": "[small|small|trace|minor]",
        "moderate": "[moderate|moderate|moderate-sized]",
        "large": "[large|large|sizable|substantial]",
    },
    "pneumothorax": {
        "small": "[small|small|tiny|trace]",
        "moderate": "[moderate|moderate-sized]",
        "large": "[large|large|sizable]",
    },
    "edema": {
        "mild": "[mild|mild|minimal]",
        "moderate": "[moderate|moderate|marked]",
        "severe": "[severe|florid|extensive]",
    },
    "cardiomegaly": {
        "mild": "[mild|mild|minimal]",
        "moderate": "[moderate|moderate|marked]",
        "severe": "[severe|severe|massive]",
    },
    "scoliosis": {"mild": "[mild|slight|minimal]", "moderate": "[moderate|moderate|pronounced]"},
}
HOW: Mapping[str, str] = {
    "mild": "[mildly|mildly|slightly|minimally]",
    "moderate": "[moderately|moderately|markedly]",
    "severe": "[severely|massively|severely]",
}

_ZONED = {
    "upper": "[upper lobe|upper lung|upper lung zone|apical]",
    "mid": "[mid lung|mid lung zone|perihilar|mid lung]",
    "lower": "[lower lobe|lower lung|basilar|lower lung zone|infrahilar]",
}
PLACES: Mapping[str, str] = {
    "upper": "{side} [upper lobe|upper lung|upper lung zone|apex]",
    "mid": "{side} [mid lung|mid lung zone|perihilar region]",
    "lower": "{side} [lower lobe|lower lung|lung base|base|lower lung zone]",
}
ZONES: Mapping[str, str] = _ZONED

_TIP = "[terminates|ends|terminating|with its tip] [in|projecting over|at the level of] the "
_SVC = "[mid SVC|lower SVC|superior vena cava|cavoatrial junction|distal SVC]"

WORDINGS: Mapping[str, Wording] = {
    "endotracheal_tube": Wording(
        "Support Devices",
        ("endotracheal tube", "ET tube", "endotracheal tube"),
        (
            "[An|The] [endotracheal|ET] tube [terminates|ends] {ett} above the carina.",
            "Endotracheal tube tip [is|lies|projects] {ett} [above|from] the carina.",
            "The tip of the [endotracheal|ET] tube is [located|positioned|seen] {ett} above the carina.",
            "The patient is intubated, the [endotracheal|ET] tube ending {ett} above the carina.",
        ),
        device=True,
    ),
    "nasogastric_tube": Wording(
        "Support Devices",
        ("nasogastric tube", "enteric tube", "orogastric tube", "NG tube"),
        (
            "[A|The] [nasogastric|enteric|orogastric] tube [courses|passes|extends] below the diaphragm[ into the stomach|, its tip not included|].",
            "[A|The] [nasogastric|enteric|feeding] tube [is seen with its tip|ends|terminates] in the stomach.",
            "[Nasogastric|Enteric|NG] tube tip [projects over|is within|lies in] the [stomach|gastric body|left upper quadrant].",
        ),
        device=True,
    ),
    "central_line": Wording(
        "Support Devices",
        (
            "{side} internal jugular [central venous|] catheter",
            "{side} IJ [central venous catheter|line|central line]",
            "{side}-sided central venous catheter",
        ),
        (
            f"[A|The] {{side}} [internal jugular|IJ] [central venous catheter|line|central line] [terminates|ends] in the {_SVC}.",
            f"{{Side}} internal jugular catheter tip [projects over|lies in|is at] the {_SVC}.",
            f"[A|The] {{side}}-sided central venous [line|catheter] [is in place with its tip|has its tip] in the {_SVC}.",
        ),
        device=True,
    ),
    "picc": Wording(
        "Support Devices",
        ("{side} PICC", "{side}-sided PICC", "{side} PICC line", "{side} upper extremity PICC"),
        (
            f"[A|The] {{side}}[-sided|] PICC [line|] [terminates|ends] in the {_SVC}.",
            f"{{Side}} PICC [line tip|tip] [projects over|is seen in|lies in] the {_SVC}.",
            f"[A|The] {{side}} [arm|upper extremity|] PICC is [present|in place], [its tip in|ending in] the {_SVC}.",
        ),
        device=True,
    ),
    "chest_tube": Wording(
        "Support Devices",
        ("{side} chest tube", "{side}-sided chest tube", "{side} pleural drain"),
        (
            "[A|The] {side}[-sided|] chest tube is [in place|in position|present|seen].",
            "{Side} [chest tube|pleural drain|thoracostomy tube] [projects over the {side} hemithorax|is in place|is noted].",
            "There is a {side}[-sided|] [chest tube|thoracostomy tube|pleural drainage catheter][ in place|].",
        ),
        device=True,
    ),
    "pacemaker": Wording(
        "Support Devices",
        (
            "{side}-sided [dual-chamber|dual-lead|] pacemaker",
            "{side} [pectoral|chest wall] pacemaker",
            "{side}-sided pacing device",
        ),
        (
            "[A|The] {side}-sided [dual-lead|dual-chamber|] pacemaker is [present|in place|noted] with leads [in|ending in|projecting over] the right atrium and right ventricle.",
            "{Side} [pectoral|chest wall] pacemaker [leads|with leads that] [end|terminate] in the right atrium and [right|] ventricle.",
            "There is a {side} [pectoral|chest wall|-sided] pacing device with [two|intact] leads.",
        ),
        device=True,
    ),
    "sternotomy": Wording(
        "Support Devices",
        ("~median sternotomy wires", "~sternotomy wires", "~sternal wires"),
        (
            "[Median|] [sternotomy|sternal] wires are [intact|aligned|intact and aligned|noted|seen].",
            "[The patient is status post|Patient is status post|There has been prior] median sternotomy[, the wires intact|, with intact wires|].",
            "[Evidence of|Status post|] [prior|] median sternotomy with [intact|well aligned|midline] wires.",
        ),
        impression=False,
        device=True,
    ),
    "low_lung_volumes": Wording(
        "",
        ("~low lung volumes", "~reduced lung volumes", "!poor inspiratory effort with low lung volumes"),
        (
            "[The|] lung volumes are [low|reduced|diminished][ with crowding of the bronchovascular markings|, which accentuates the vasculature|].",
            "[There are low|Low|Reduced] lung volumes[, with bronchovascular crowding|].",
            "Inspiration is [shallow|poor|limited], [leaving|with] low lung volumes.",
        ),
        impression=False,
    ),
    "hyperinflation": Wording(
        "",
        ("!hyperinflation of the lungs", "~hyperinflated lungs", "!emphysematous hyperinflation"),
        (
            "The lungs are [hyperinflated|hyperexpanded|markedly hyperinflated][ with flattened diaphragms|, suggestive of COPD|, in keeping with emphysema|].",
            "[There is hyperinflation|Hyperinflation] of the lungs with [flattening|flattened contours] of the [diaphragms|hemidiaphragms].",
            "[Hyperinflated|Hyperexpanded] lungs [suggest|are compatible with|are in keeping with] [emphysema|chronic obstructive pulmonary disease|COPD].",
        ),
    ),
    "consolidation": Wording(
        "Consolidation",
        (
            "{side} {zoned} consolidation",
            "{side} {zoned} [airspace|parenchymal] opacity",
            "consolidation in the {place}",
            "[focal|dense] {side} {zoned} opacity",
        ),
        (
            "There is [a |a focal |a patchy |a dense ][consolidation|airspace opacity|opacity|area of consolidation] in the {place}, [concerning for|suspicious for|which may represent|compatible with] {infection}.",
            "[Patchy|Focal|Confluent|Dense] {side} {zoned} [opacity|consolidation] [is present|is noted|is seen], [which could reflect|likely|worrisome for|in the appropriate clinical setting compatible with] {infection}.",
            "[A|An area of] [patchy|confluent|focal] [consolidation|airspace opacity] [projects over|is seen in|occupies] the {place}.",
            "[Hazy|Dense|Focal] opacity [within|in|at] the {place} [may represent|is concerning for|could be due to] {infection}.",
        ),
        (
            "~bilateral {zoned} opacities",
            "~bilateral {zoned} consolidations",
            "!multifocal consolidation",
            "~multifocal [airspace|parenchymal] opacities",
        ),
        (
            "[Patchy|Confluent|Multifocal] [airspace|parenchymal|] opacities are [present|seen|noted] in both lungs, [concerning for|compatible with|which may represent] [multifocal|] {infection}.",
            "There are bilateral {zoned} [opacities|consolidations|airspace opacities], [worrisome for|suspicious for|possibly representing] {infection}.",
            "Bilateral {zoned} consolidations [are present|are noted], [likely|possibly] [multifocal pneumonia|{infection}].",
        ),
    ),
    "atelectasis": Wording(
        "Atelectasis",
        (
            "!{side} {basal} [{kind}|{kind}|] atelectasis",
            "!{kind} atelectasis at the {side} [lung base|base]",
            "~{side} {basal} {streaks} [of|reflecting|due to] atelectasis",
        ),
        (
            "There is [{kind}|mild {kind}] atelectasis at the {side} [lung base|base].",
            "{Side} {basal} {streak} [most likely|likely|probably] [represents|reflects] atelectasis.",
            "[{Kind}|Minimal {kind}|Mild {kind}] atelectasis is [seen|noted|present] [in|at] the {side} [lower lung|lung base|base|lower lobe].",
            "{Side} {basal} atelectasis[ is noted| is present|].",
        ),
        (
            "!bibasilar [{kind}|] atelectasis",
            "!bilateral [lower lobe|basilar|basal] atelectasis",
            "~bibasilar {streaks} [of|reflecting|due to] atelectasis",
        ),
        (
            "There is [{kind}|mild {kind}|] bibasilar atelectasis.",
            "Bibasilar {streaks} [, likely atelectasis,|of atelectasis] are [present|noted].",
            "[{Kind}|Mild|Minimal] atelectasis is [seen|noted|present] at [both|the] lung bases.",
            "Bibasilar opacities [most likely|likely|probably] [represent|reflect] atelectasis.",
        ),
    ),
    "edema": Wording(
        "Edema",
        (
            "!{grade} pulmonary edema",
            "!{grade} [interstitial|pulmonary] edema",
            "!{grade} [cardiogenic|pulmonary] edema",
        ),
        (
            "There is {grade} pulmonary edema[ with perihilar haziness| with Kerley B lines|].",
            "[Perihilar haziness and|Indistinct vasculature and|Vascular engorgement and] [Kerley B lines|septal thickening|interstitial thickening] [are compatible with|indicate|are consistent with|suggest] {grade} [pulmonary|interstitial] edema.",
            "[Diffuse|Bilateral] interstitial [markings|prominence] and vascular congestion [compatible with|consistent with|in keeping with] {grade} [pulmonary|interstitial] edema.",
            "{Grade} pulmonary edema [is present|is noted|is seen].",
        ),
    ),
    "nodule": Wording(
        "Lung Lesion",
        ("{side} {zoned} [pulmonary|] nodule", "{mm} mm nodule in the {place}", "{side} {zoned} nodular density"),
        (
            "[A|A rounded|A well-defined] {mm} mm nodule [projects over|is seen in|is noted in] the {place}[. CT is recommended| and should be further evaluated with CT|].",
            "There is a [small|rounded|{mm} mm] [pulmonary nodule|nodule|nodular opacity] in the {place}.",
            "[Nodular|Rounded] [density|opacity] [projecting over|in] the {place} measures [approximately|about] {mm} mm, [consistent with a nodule|suspicious for a nodule][. Chest CT is advised|].",
        ),
    ),
    "mass": Wording(
        "Lung Lesion",
        ("{side} {zoned} mass", "{cm} cm mass in the {place}", "[lobulated|large] {side} {zoned} mass"),
        (
            "[A|A lobulated|A large] {cm} cm mass [projects over|is seen in|occupies] the {place}[, concerning for malignancy|, suspicious for neoplasm|].",
            "There is a [large|lobulated|{cm} cm] [mass|mass-like opacity] in the {place}[, worrisome for malignancy|. CT is recommended|].",
            "[Large|Lobulated|Well-circumscribed] [mass|mass-like density] in the {place} measures [approximately|about] {cm} cm.",
        ),
    ),
    "effusion": Wording(
        "Pleural Effusion",
        (
            "{grade} {side} pleural effusion",
            "{grade} {side}-sided [pleural|] effusion",
            "{grade} pleural effusion on the {side}",
        ),
        (
            "There is a {grade} {side}[-sided|] pleural effusion[ with adjacent compressive changes|].",
            "{a_grade} {side} pleural effusion is [present|noted|seen][ with blunting of the costophrenic angle|].",
            "[Blunting|Opacification] of the {side} [costophrenic angle|costophrenic sulcus] is [compatible|consistent|in keeping] with a {grade} [pleural|] effusion.",
            "{a_grade} {side} effusion [layers at|obscures|overlies] the [{side}|] [lung base|hemidiaphragm].",
        ),
        (
            "~{grade} bilateral pleural effusions",
            "~bilateral {grade} effusions",
            "~{grade} bilateral [pleural|] effusions",
        ),
        (
            "There are {grade} bilateral pleural effusions[ with adjacent compressive changes|].",
            "{Grade} bilateral pleural effusions are [present|noted|seen].",
            "[Both|Bilateral] costophrenic angles are [blunted|obscured|opacified] by {grade} [pleural|] effusions.",
        ),
    ),
    "pneumothorax": Wording(
        "Pneumothorax",
        ("{grade} {side} pneumothorax", "{grade} {side}[-sided|] [apical|apicolateral|] pneumothorax"),
        (
            "There is a {grade} {side}[-sided|] [apical|apicolateral|] pneumothorax[ without evidence of tension|].",
            "{a_grade} {side} pneumothorax is [present|seen|identified][, with a visible pleural line|].",
            "A [visceral|] pleural line [is seen|is visible] [in|over] the {side} [hemithorax|upper hemithorax|lung apex], consistent with a {grade} pneumothorax.",
        ),
    ),
    "elevated_hemidiaphragm": Wording(
        "",
        ("!elevation of the {side} hemidiaphragm", "elevated {side} hemidiaphragm"),
        (
            "The {side} hemidiaphragm is [elevated|raised|elevated relative to the {other}].",
            "There is [elevation|eventration or elevation] of the {side} hemidiaphragm.",
            "[Elevation|Asymmetric elevation] of the {side} hemidiaphragm is [noted|seen|present].",
        ),
    ),
    "cardiomegaly": Wording(
        "Cardiomegaly",
        ("!{grade} cardiomegaly", "!{grade} enlargement of the cardiac silhouette", "{how} enlarged heart"),
        (
            "[The heart is|Heart size is|The cardiac silhouette is] {how} enlarged.",
            "There is {grade} cardiomegaly.",
            "{Grade} [cardiomegaly|enlargement of the cardiac silhouette|cardiac enlargement] is [present|noted|seen].",
            "[The|] cardiac silhouette [demonstrates|shows] {grade} enlargement.",
        ),
    ),
    "aortic_tortuosity": Wording(
        "",
        ("tortuous [thoracic|descending|] aorta", "!tortuosity of the [thoracic|] aorta"),
        (
            "The [thoracic|descending|] aorta is [tortuous|unfolded|tortuous and unfolded].",
            "[There is tortuosity|Tortuosity] of the [thoracic|descending thoracic] aorta.",
            "[Tortuous|Unfolded] [thoracic|descending|] aorta.",
        ),
        impression=False,
    ),
    "aortic_calcification": Wording(
        "",
        (
            "~aortic [knob|arch] calcifications",
            "calcified [aortic knob|aortic arch]",
            "~atherosclerotic calcifications of the aorta",
        ),
        (
            "The [aortic knob|aortic arch|aorta] is calcified.",
            "[Atherosclerotic|Vascular|Mural] calcifications [are seen at|are noted in|involve] the [aortic knob|aortic arch].",
            "[Calcification|Atherosclerotic calcification] of the [aortic knob|aortic arch|aorta] [is noted|is seen|].",
        ),
        impression=False,
    ),
    "rib_fracture": Wording(
        "Fracture",
        ("~{side} [lateral|] rib fractures", "~fractures of the {side} lateral ribs"),
        (
            "[There are|] [mildly|minimally|] displaced {side} [lateral|] rib fractures.",
            "[Fractures|Displaced fractures] of [two|adjacent|neighboring] {side} [lateral|] ribs are [noted|seen|identified].",
            "{Side} [lateral|] rib fractures are [present|seen|noted|identified].",
        ),
    ),
    "scoliosis": Wording(
        "",
        ("!{grade} [thoracic|] scoliosis", "!{grade} {side} convex scoliosis"),
        (
            "There is {grade} [{side} convex|{side}ward|] scoliosis of the [thoracic|] spine.",
            "{Grade} [thoracic scoliosis|scoliosis|scoliosis of the thoracic spine], convex to the {side}.",
            "{Grade} [{side} convex|] [thoracic|] scoliosis is [noted|present|seen].",
        ),
        impression=False,
    ),
}

# ------------------------------------------------------------------ change

SINCE = "[since the prior study|since the prior exam|compared with the prior study|compared to prior|in the interval|from the prior radiograph|]"
CHANGES: Mapping[str, tuple[str, ...]] = {
    "same": (
        f"[The|] {{noun}} {{is}} [unchanged|stable|similar|not significantly changed|without significant change] {SINCE}.",
        "[Unchanged|Stable|Persistent|Similar] {noun}.",
        "[No significant|No interval|No appreciable] change in {noun}.",
        "[Again|Again] [noted|seen] {is} {a noun}.",
    ),
    "worse": (
        f"[The|] {{noun}} {{has}} [increased|worsened|progressed|enlarged] {SINCE}.",
        "[Interval|] [increase|worsening|progression] [of|in] {noun}.",
        "[There is|] now {a noun}, [increased|worse|greater] than [before|on the prior study|previously].",
    ),
    "better": (
        f"[The|] {{noun}} {{has}} [decreased|improved|diminished] {SINCE}.",
        "[Interval|] [decrease|improvement|reduction] in {noun}.",
        "[There is|] now {a noun}, [decreased|improved|less] [compared with before|compared to the prior study|from previously].",
    ),
    "new": (
        "[There is|There is now|] new {noun}.",
        "[There has been|] interval development of {a noun}.",
        f"New {{noun}} [is seen|is present|has developed|has appeared] {SINCE}.",
        "[Interval appearance of|Since the prior study, there is new] {noun}.",
    ),
    "gone": (
        "[The|] [previously seen|prior|previous] {noun} {has} [resolved|cleared].",
        "[Interval|Complete] resolution of [the|the previously seen] {noun}.",
        "[The|] {noun} {is} no longer [seen|present|visualized].",
    ),
    "removed": (
        "[The|] {noun} {has} been [removed|withdrawn|removed in the interval].",
        "[Interval|] removal of [the|] {noun}.",
        "[The|] {noun} {is} no longer [in place|present|seen].",
    ),
    "placed": (
        "[There has been|] interval placement of {a noun}.",
        "[New|Newly placed|Interval placement of] {noun}[, in good position|, in expected position|].",
    ),
}

# ------------------------------------------------------------------ what is not there

NEGATIVES: Mapping[str, str] = {
    "Consolidation": "[focal consolidation|consolidation|focal airspace consolidation|focal parenchymal consolidation]",
    "Pleural Effusion": "[pleural effusion|effusion|pleural effusion|pleural fluid]",
    "Pneumothorax": "pneumothorax",
    "Edema": "[pulmonary edema|edema|overt pulmonary edema|interstitial edema]",
}
NONE_OF = (
    "[There is no|No evidence of|There is no evidence of|No] {things}.",
    "No {things} [is present|is seen|is identified|detected].",
    "[There is no|No|No definite|No convincing] {things}.",
)
LUNGS_CLEAR = (
    "[The|Both|] lungs are [clear|well expanded and clear|clear bilaterally|well aerated and clear].",
    "[The|] lungs are [clear|clear without focal abnormality|free of focal opacity].",
    "[Clear|Well-aerated] lungs[ bilaterally| on both sides|].",
)
LUNGS_REST = (
    "The [remainder of the lungs|remaining lung|lung elsewhere] [is|appears] clear.",
    "[Elsewhere|Otherwise], the lungs are clear.",
)
HEART_NORMAL = (
    "[The|] [heart size|cardiac size] is [normal|within normal limits|unremarkable].",
    "[The|] [cardiomediastinal|cardiac] silhouette is [normal|within normal limits|unremarkable].",
    "[The heart is|Heart is] normal in size[ and the mediastinal contours are unremarkable| with normal mediastinal contours|].",
    "[Cardiac and|Heart and] mediastinal contours are [normal|within normal limits|unremarkable].",
)
MEDIASTINUM_NORMAL = (
    "[The|] mediastinal [and hilar|] contours are [normal|unremarkable|within normal limits].",
    "[The|] hilar contours are [normal|unremarkable].",
)
BONES_NORMAL = (
    "[No acute|There are no acute|No] [osseous|bony|skeletal] [abnormalities|findings].",
    "[The|] [osseous structures|visualized bones|imaged bones] are [intact|unremarkable|without acute abnormality].",
    "[No displaced|No acute|No] [rib fracture|fracture] is [seen|identified].",
)
ABDOMEN_NORMAL = (
    "[No free air|There is no free air] [below|beneath|under] the [diaphragm|right hemidiaphragm].",
    "The [upper abdomen|imaged upper abdomen] is unremarkable.",
)
HEDGES = {
    "Pleural Effusion": "A [small|trace|tiny] pleural effusion cannot be [excluded|entirely excluded|ruled out].",
    "Pneumonia": "[Superimposed|Early|Underlying] [pneumonia|infection] cannot be [excluded|entirely excluded|ruled out].",
    "Edema": "[Mild|Minimal|Early] [edema|interstitial edema] [cannot be excluded|is difficult to exclude].",
}
OPENINGS = (
    "",
    "",
    "{View} [view|radiograph] of the chest [was|is] [obtained|provided|reviewed].",
    "The [patient is rotated|patient is slightly rotated|study is limited by patient positioning|study is somewhat limited].",
)

COMPARED = "[Comparison is made to|The study is compared with] the [prior|previous] [study|radiograph]."

# ------------------------------------------------------------------ the other sections

IMPRESSION_NORMAL = (
    "No [acute|evidence of acute] [cardiopulmonary|intrathoracic] [process|abnormality|disease].",
    "[No radiographic evidence of|No evidence of] [pneumonia|acute cardiopulmonary disease].",
    "Normal chest [radiograph|x-ray|radiographs].",
    "No acute [findings|cardiopulmonary findings|intrathoracic abnormality].",
)
IMPRESSION_STABLE = (
    "No [new|acute|superimposed] [cardiopulmonary|intrathoracic] [process|abnormality].",
    "[Otherwise|] no acute cardiopulmonary abnormality.",
)
REASONS: Mapping[str, str] = {
    "endotracheal_tube": "[respiratory failure|recent intubation|respiratory distress]//[tube position|endotracheal tube malposition]",
    "nasogastric_tube": "[new feeding tube|dysphagia|altered mental status]//[tube placement|tube position]",
    "central_line": "[new central line|sepsis|hypotension]//[line position|pneumothorax]",
    "picc": "[new PICC|need for long term antibiotics]//[PICC tip location|line placement]",
    "chest_tube": "[chest tube in place|recent chest tube placement]//[interval change|pneumothorax]",
    "pacemaker": "[a pacemaker|recent device placement|syncope]//[lead position|lead integrity]",
    "sternotomy": "[prior CABG|recent valve replacement|recent cardiac surgery]//[interval change|effusion]",
    "hyperinflation": "[COPD|COPD exacerbation|smoking history, wheezing]//[pneumonia|acute process]",
    "consolidation": "[fever and cough|productive cough|fever|leukocytosis and cough]//[pneumonia|infiltrate|infection]",
    "atelectasis": "[low grade fever|hypoxia|decreased breath sounds]//[pneumonia|infiltrate|acute process]",
    "edema": "[shortness of breath|dyspnea and leg swelling|CHF|orthopnea]//[edema|fluid overload|pulmonary edema]",
    "nodule": "[weight loss|abnormal outside radiograph|smoking history]//[nodule|mass|malignancy]",
    "mass": "[hemoptysis|weight loss|known lung mass|lung cancer]//[mass|progression|interval change]",
    "effusion": "[dyspnea|shortness of breath|pleuritic chest pain]//[effusion|fluid|effusion, infiltrate]",
    "pneumothorax": "[sudden chest pain|pneumothorax|recent lung biopsy]//[pneumothorax|interval change]",
    "cardiomegaly": "[CHF|dyspnea on exertion|hypertension|atrial fibrillation]//[cardiomegaly|edema|volume status]",
    "rib_fracture": "[fall|motor vehicle collision|chest wall pain after trauma]//[fracture|rib fractures, pneumothorax]",
    "scoliosis": "[back pain|preoperative evaluation]//[acute process|baseline]",
    "": "[cough|chest pain|fever|preoperative evaluation|dizziness|shortness of breath|positive PPD|weakness|abdominal pain]"
    "//[acute process|pneumonia|acute cardiopulmonary process|infiltrate|intrathoracic process]",
}
INDICATIONS = (
    "{person} with {reason} // {question}",
    "{person} with {reason}. [Evaluate for|Please assess for|Assess] {question}.",
    "History: {person} with {reason}, [rule out|evaluate for|question] {question}.",
    "{Reason}. {Question}?",
)
INFECTION = "[pneumonia|infection|pneumonia|an infectious process|pneumonia or aspiration]"
