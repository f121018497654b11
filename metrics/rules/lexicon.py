"""The words of chest radiograph reports that the reader knows: findings, anatomy, states, qualifiers and triggers.

Every table is a text of lines. Phrases are compared as lemmas (`metrics.rules.words.lemma`), hyphens left out, so that
"pleural effusion" also finds "Pleural effusions", and the longest phrase that fits at a word wins. The observations are
CheXpert's 14 (Irvin et al. 2019, https://arxiv.org/abs/1901.07031); what counts as a mention follows that paper's
labeler where it says anything (congestion and heart failure are edema, scars and interstitial patterns are opacities).
"""

# ruff: noqa: E501 -- a row of a table is one line

from __future__ import annotations

from metrics.rules.words import bag

SUPPORT = "Support Devices"

FINDINGS = """
# id | labels, joined by + | more general findings | phrases
any || | abnormality, radiographic abnormality, significant abnormality
acute || any | acute disease, acute process, acute abnormality, acute finding, acute change, acute cardiopulmonary, acute cardiopulmonary process, acute cardiopulmonary disease, acute cardiopulmonary abnormality, acute cardiopulmonary finding, acute cardiopulmonary pathology, acute pulmonary disease, acute pulmonary process, acute pulmonary abnormality, acute pulmonary finding, acute intrathoracic process, acute intrathoracic abnormality, acute intrathoracic finding, acute intrathoracic pathology, acute thoracic process, acute chest disease, acute pathology, active disease, active cardiopulmonary disease, active pulmonary disease, acute cardiac or pulmonary process, cardiopulmonary process, cardiopulmonary disease, cardiopulmonary abnormality, cardiopulmonary finding, intrathoracic process, intrathoracic abnormality, active process, acute radiographic cardiopulmonary process, acute radiographic cardiopulmonary abnormality, acute abnormality, acute cardiac abnormality, acute cardiac process, acute lung disease, acute abnormality in the chest, cardiopulmonary pathology, acute cardiac pulmonary process
lung_abnormality || any | lung abnormality, pulmonary abnormality, parenchymal abnormality, focal abnormality, focal lung abnormality, focal pulmonary abnormality, lung disease, pulmonary disease, parenchymal disease, focal process, parenchymal lung disease, focal lung disease, pulmonary parenchymal abnormality, lung parenchymal abnormality, focal parenchymal abnormality, pleuroparenchymal abnormality
pleural_abnormality || any | pleural abnormality, pleural disease, pleural process
opacity | Lung Opacity | lung_abnormality | opacity, opacification, infiltrate, infiltration, airspace disease, air space disease, airspace process, air space process, airspace opacity, air space opacity, airspace opacification, airspace infiltrate, alveolar opacity, alveolar infiltrate, alveolar disease, parenchymal opacity, parenchymal infiltrate, pulmonary opacity, pulmonary infiltrate, lung opacity, focal airspace disease, ground glass, ground glass opacity, haziness, haze, hazy density, increased density, air bronchogram, silhouetting, white out, parenchymal density, airspace density, interstitial density, streaky density, patchy density, linear density, focal density, focus of density, area of density, bandlike density, band like density, vague density, subtle density, basilar density, lung base density, hilar density, retrocardiac density, ill defined density, platelike density, small density, airspace, alveolar filling, radiopacity, opaque, infiltrative process
interstitial | Lung Opacity | opacity | interstitial opacity, interstitial infiltrate, interstitial pattern, interstitial disease, interstitial lung disease, interstitial process, interstitial thickening, interstitial prominence, interstitial abnormality, interstitial change, reticular pattern, reticular opacity, reticular marking, reticular density, reticulation, reticulonodular pattern, reticulonodular opacity, septal thickening, interlobular septal thickening, peribronchial thickening, peribronchial cuffing, bronchial cuffing, bronchial wall thickening, bronchial thickening, interstitial reticular opacity, reticular interstitial opacity, honeycombing, reticular interstitial pattern, interstitial fibrosis, prominent interstitium, increased interstitium, coarse interstitium, coarsened interstitium, prominence of the interstitium, chronic interstitial change, chronic interstitial lung disease, interstitial scarring, interstitial lung change
consolidation | Consolidation | opacity, acute | consolidation, consolidative process, consolidative opacity+, consolidative change, airspace consolidation, air space consolidation, parenchymal consolidation, lobar consolidation, alveolar consolidation, consolidative airspace disease+, airspace consolidative process, consolidative infiltrate+
pneumonia | Pneumonia | opacity, acute | pneumonia, pneumonitis, bronchopneumonia, pneumonic process, pneumonic infiltrate+, infection, infectious process, infectious etiology, infectious disease, infective process, pulmonary infection, lung infection, infectious infiltrate+, infectious, pneumonic, lobar pneumonia, atypical infection
abscess | Pneumonia | pneumonia | abscess
tuberculosis | Pneumonia | pneumonia | tuberculosis, active tuberculosis, tb, tuberculosis infection, active tuberculosis infection, tuberculosis process, active tuberculosis process, active tb, tuberculosis disease
aspiration || lung_abnormality, acute | aspiration
atelectasis | Atelectasis | lung_abnormality | atelectasis, atelectatic, atelectatic change, atelectatic opacity+, atelectatic disease, atelectases
collapse | Atelectasis | atelectasis | lung collapse, lobar collapse, collapse, collapsed lung, collapsed lobe, subsegmental collapse
volume_loss || lung_abnormality | volume loss, loss of volume
edema | Edema | lung_abnormality, acute | edema, pulmonary edema, interstitial edema, alveolar edema, interstitial pulmonary edema, cardiogenic edema, cardiogenic pulmonary edema, edematous change
congestion | Edema | edema | congestion, pulmonary congestion, vascular congestion, pulmonary vascular congestion, pulmonary venous congestion, venous congestion, vascular engorgement, pulmonary vascular engorgement, venous engorgement, cephalization, vascular redistribution, pulmonary venous hypertension, vascular prominence, pulmonary vascular prominence, indistinct vasculature, indistinct pulmonary vasculature, vascular indistinctness, engorged vasculature, congestive change, fluid overload, volume overload, kerley b line, kerley line, septal line, congested vasculature, failure, overt failure, venous hypertension, vascular fullness, pulmonary vascular redistribution, vascular cephalization, perihilar vascular congestion
heart_failure | Edema | edema | heart failure, congestive heart failure, chf, congestive failure, cardiac failure, cardiac decompensation, congestive changes of heart failure
effusion | Pleural Effusion | pleural_abnormality | pleural effusion, effusion, pleural fluid, hydrothorax, pleural collection, pleural fluid collection, parapneumonic effusion, fissural fluid, fluid in the fissure, fluid within the fissure, fluid in the minor fissure, fluid in the major fissure, subpulmonic effusion, subpulmonic fluid, pleural air or fluid
hemothorax | Pleural Effusion | effusion | hemothorax
empyema | Pleural Effusion | effusion | empyema
hydropneumothorax | Pleural Effusion+Pneumothorax | effusion, pneumothorax | hydropneumothorax, hemopneumothorax
pneumothorax | Pneumothorax | pleural_abnormality, acute | pneumothorax, pneumo thorax, ptx
pleural_line || pleural_abnormality | pleural line, visceral pleural line
pleural_thickening | Pleural Other | pleural_abnormality | pleural thickening, pleural scar, pleural scarring, thickening of the pleura, fibrothorax, pleuroparenchymal scar, pleuroparenchymal scarring, pleural parenchymal scarring, pleural parenchymal scar, pleural fibrosis, apical capping, apical cap, pleural capping, pleural reaction, pleural irregularity, pleural parenchymal thickening, pleural based thickening, thickened pleura, pleuroparenchymal thickening, pleural parenchymal disease, pleuroparenchymal disease, pleural based opacity, pleural based density, fissural thickening, thickening of the fissure, thickening of the minor fissure, thickening of the major fissure, pleural tag, pleural disease
pleural_plaque | Pleural Other | pleural_thickening | pleural plaque, calcified pleural plaque, pleural calcification, pleural based plaque
pleural_mass | Pleural Other | pleural_thickening | pleural mass, pleural based mass
pulmonary_fibrosis | Pleural Other+Lung Opacity | interstitial | fibrosis, pulmonary fibrosis, fibrotic change, fibrotic disease, lung fibrosis, fibronodular change, fibrotic scarring
scar | Lung Opacity | lung_abnormality | scar, scarring, parenchymal scarring, pulmonary scarring, lung scarring, cicatrix, parenchymal scar, fibrous scar, scar tissue, scarlike, fibronodular scarring, linear scarring, linear scar
blunted_angle || pleural_abnormality | blunted costophrenic angle, costophrenic blunting, costophrenic angle blunting, costophrenic sulcus blunting
nodule | Lung Lesion | lung_abnormality | nodule, pulmonary nodule, lung nodule, nodular opacity+, nodular density, nodular lesion, nodular infiltrate+, nodular focus, nodularity, micronodule, nodular, rounded density, round density, rounded opacity+, round opacity+, nodular airspace disease+, nodular shadow, coin lesion, pulmonary parenchymal nodule, parenchymal nodule, lung lesion, pulmonary lesion, parenchymal lesion, focal lesion, lesion, rounded nodular density, noncalcified nodule, non calcified nodule, rounded nodule, nodular like density, nodule or mass, space occupying lesion
cavity | Lung Lesion | nodule | cavitary lesion, cavity, cavitation, cavitary
mass | Lung Lesion | lung_abnormality | mass, pulmonary mass, lung mass, mass lesion, masslike opacity+, mass like opacity+, masslike density, mass like density, masslike consolidation+, mass like lesion, tumor, parenchymal mass, hilar mass, perihilar mass, suprahilar mass, infrahilar mass
metastasis | Lung Lesion | malignancy | metastasis, pulmonary metastasis, lung metastasis, metastatic disease, metastatic nodule, metastatic lesion
malignancy | Lung Lesion | mass | neoplasm, malignancy, carcinoma, lung cancer, bronchogenic carcinoma, neoplastic process, malignant process, lung malignancy, pulmonary neoplasm, neoplastic disease, cancer
granuloma || nodule | granuloma, calcified granuloma, granulomatous disease, granulomatous change, granulomatous calcification, prior granulomatous disease, calcified nodule, calcified nodular density, calcified density, calcified pulmonary nodule, calcified lung nodule, granulomata, granulomatosis, granulomatous, granulomatous infection, granulomatous process, calcific density, calcified nodular opacity, calcified lesion, calcified opacity, dense nodule, granulomatous sequela, calcified parenchymal nodule, granulomatous residual, sequela of granulomatous disease
calcified_node || | calcified lymph node, calcified lymph, calcified hilar lymph, calcified mediastinal lymph, calcified paratracheal lymph, calcified right hilar lymph, calcified left hilar lymph, calcified mediastinal and hilar lymph, calcified hilar and mediastinal lymph, calcified hilar lymph node, calcified mediastinal lymph node, calcified node, calcified hilar node, calcified mediastinal node, lymph node calcification, nodal calcification, hilar calcification, hilar node calcification, calcified mediastinal lymphadenopathy, calcified hilum, hilar lymph node calcification, calcified lymphadenopathy, calcified adenopathy, calcified hilar adenopathy, calcified hilar lymphadenopathy
calcification || | calcification, calcified focus
adenopathy || | adenopathy, lymphadenopathy, enlarged lymph node, hilar adenopathy, mediastinal adenopathy, hilar lymphadenopathy, mediastinal lymphadenopathy, hilar enlargement, hilar prominence, hilar fullness, mediastinal lymph node, prominent hilum, enlarged hilum
cardiomediastinal_enlargement | Enlarged Cardiomediastinum | any | cardiomediastinal enlargement, enlarged cardiomediastinum, cardiomediastinal abnormality
cardiomegaly | Cardiomegaly | cardiomediastinal_enlargement | cardiomegaly, cardiac enlargement, enlarged heart, enlarged cardiac silhouette, heart enlargement, cardiac silhouette enlargement, enlarged cardiac shadow, borderline heart size, borderline cardiac size, cardiac prominence, borderline enlarged heart, borderline cardiac enlargement, enlarged cardiopericardial silhouette, left ventricular enlargement
cardiomyopathy | Cardiomegaly | cardiomegaly | cardiomyopathy
ventricular_enlargement || | left ventricular enlargement, biventricular enlargement, left ventricular prominence, left ventricular hypertrophy, ventricular enlargement, ventricular hypertrophy, enlarged left ventricle, prominent left ventricle, left ventricular configuration, left atrial enlargement, atrial enlargement, enlarged left atrium
mediastinal_widening | Enlarged Cardiomediastinum | cardiomediastinal_enlargement | widened mediastinum, mediastinal widening, mediastinal enlargement, wide mediastinum, prominent mediastinum, mediastinal prominence, mediastinal fullness, mediastinal abnormality, enlarged mediastinum, widening of the mediastinum
mediastinal_mass | Enlarged Cardiomediastinum | mediastinal_widening | mediastinal mass
mediastinal_hematoma | Enlarged Cardiomediastinum | mediastinal_widening | mediastinal hematoma
mediastinal_shift | Enlarged Cardiomediastinum | | mediastinal shift, shift of the mediastinum, mediastinal deviation, shift of mediastinum
cardiac_abnormality || any | cardiac abnormality
pericardial_effusion || | pericardial effusion, pericardial fluid
pulmonary_artery || | pulmonary arterial hypertension, pulmonary artery hypertension, pulmonary hypertension, enlarged pulmonary artery, prominent pulmonary artery, pulmonary artery enlargement, pulmonary arterial enlargement
fracture | Fracture | bone_abnormality | fracture, fx, compression fracture, fracture deformity, wedge compression fracture, vertebral compression fracture, compression deformity, vertebral compression deformity, compression of the vertebral body, thoracic compression fracture, thoracic compression deformity, vertebral body compression deformity, fracture line, wedge fracture, fracture fragment, nondisplaced fracture, vertebral collapse, vertebral body collapse, collapsed vertebra, collapsed vertebral body
wedge_deformity || bone_abnormality | wedging, wedge deformity, anterior wedging, wedge compression deformity, vertebral wedging, loss of vertebral body height, loss of height, height loss, vertebral body height loss, vertebral height loss, wedge shaped deformity, compression, wedging deformity, vertebral deformity, loss of vertebral height, wedged
bone_abnormality || any | osseous abnormality, bony abnormality, skeletal abnormality, bone abnormality, osseous finding, bony finding, acute osseous abnormality, acute bony abnormality, acute skeletal abnormality, osseous process, bony process, osseous injury, bony injury, acute bone abnormality, acute osseous finding, acute bony finding, acute skeletal finding, acute osseous process, skeletal finding, osseous pathology, bony pathology, bone lesion, osseous lesion, bony lesion, lytic lesion, destructive bony lesion, destructive bone lesion, destructive osseous lesion, blastic lesion, sclerotic lesion, sclerotic focus, acute bone finding, osseous change
rib_deformity || | deformity, chest wall deformity, posttraumatic deformity
degenerative || | degenerative change, degenerative disease, degenerative disc disease, degenerative disk disease, degenerative spurring, degenerative, osteophyte, osteophytosis, spurring, spondylosis, spondylosis deformans, arthritis, osteoarthritis, arthritic change, degenerative joint disease, disc space narrowing, disk space narrowing, djd, spondylitic change, spondylotic change, endplate sclerosis, bridging osteophyte, osteoarthritic change, hypertrophic change, arthropathy, arthrosis, dish, diffuse idiopathic skeletal hyperostosis, hypertrophic spurring, endplate change, marginal spur, spur, degenerative endplate change, osteophytic spurring, degenerate change, degenerative arthritis, discogenic disease, syndesmophyte, anterior osteophyte, degenerated
scoliosis || | scoliosis, dextroscoliosis, levoscoliosis, scoliotic curvature, spinal curvature, dextrocurvature, levocurvature, scoliotic, curvature, scoliotic deformity, rotoscoliosis, dextroconvex scoliosis, levoconvex scoliosis, s shaped scoliosis
kyphosis || | kyphosis, kyphotic, kyphoscoliosis, exaggerated kyphosis, kyphotic curvature, hyperkyphosis, kyphotic angulation
osteopenia || | osteopenia, osteopenic, demineralization, osteoporosis, demineralized, osteoporotic
low_volumes || | low lung volume, hypoinflation, hypoinflated, hypoventilation, hypoventilatory change, underinflation, underinflated, poor inspiration, poor inspiratory effort, shallow inspiration, low inspiratory volume, decreased lung volume, reduced lung volume, small lung volume, diminished lung volume, bronchovascular crowding, vascular crowding, crowding, low volume, low inspiratory effort, poor inspiratory result, hypoaeration, hypoexpansion, hypoexpanded, suboptimal inspiration, limited inspiration, shallow inspiratory effort, poor inflation, poor aeration, underaeration, decreased inspiratory effort, hypoventilated, expiratory, underexpanded, incomplete inspiration, low lung volumes bilaterally
hyperinflation || | hyperinflation, hyperinflated, hyperexpansion, hyperexpanded, overinflation, overinflated, hyperaeration, hyperaerated, overexpanded, overexpansion, hyperdistention, hyperdistended, hyperlucent, hyperlucency, increased ap diameter, hyperventilated, flattened diaphragm, flattened hemidiaphragm, diaphragmatic flattening, flattening of the diaphragm, flattening of the hemidiaphragm, air trapping, large lung volume, increased lung volume, hyperventilation, lung hyperexpansion, increased retrosternal airspace, enlarged retrosternal airspace, barrel chest, bilateral diaphragmatic flattening
emphysema || | emphysema, emphysematous change, emphysematous, bullous emphysema, bullous disease, bulla, bullous change, bleb, copd, chronic obstructive pulmonary disease, chronic obstructive lung disease, obstructive lung disease, obstructive pulmonary disease, obstructive disease, centrilobular emphysema, pulmonary emphysema, emphysematous disease, bulky emphysema, chronic lung disease, obstructive airways disease, chronic obstructive disease, chronic change, chronic pulmonary disease, pneumatocele, bullae
bronchiectasis || | bronchiectasis, bronchiectatic change
airway_disease || | bronchitis, bronchiolitis, bronchitic change, chronic bronchitis, reactive airway disease, airway disease, small airway disease, airway inflammation, bronchospasm, asthma, reactive airways disease, airways disease
cystic_fibrosis || | cystic fibrosis
sarcoidosis || | sarcoidosis, sarcoid
contusion || lung_abnormality, acute | contusion, pulmonary contusion
hemorrhage || lung_abnormality, acute | pulmonary hemorrhage, hemorrhage
tortuous_aorta || | aortic tortuosity, aortic ectasia, aortic unfolding
aneurysm || tortuous_aorta | aortic aneurysm, thoracic aortic aneurysm, aneurysm, aneurysmal dilatation
aortic_calcification || | aortic calcification, atherosclerosis, atherosclerotic disease, atherosclerotic change, atherosclerotic calcification, atherosclerotic, vascular calcification, arteriosclerosis, arteriosclerotic change, arteriosclerotic, atheromatous calcification, atherosclerotic vascular disease, calcific atherosclerosis, calcified atherosclerosis, atherosclerotic plaque, coronary artery calcification, coronary calcification, atheromatous disease, atherosclerotic vascular calcification, aortic atherosclerosis, arterial calcification, aortic atherosclerotic calcification, atheromatous change, valvular calcification, mitral annular calcification, aortic arch calcification, aortic knob calcification
elevated_hemidiaphragm || | elevated hemidiaphragm, elevated diaphragm, hemidiaphragm elevation, diaphragmatic elevation, diaphragm elevation, eventration, diaphragmatic eventration, eventration of the diaphragm, elevation of the hemidiaphragm, elevation of the diaphragm, hemidiaphragmatic elevation, hemidiaphragm eventration
hernia || | hernia, hiatal hernia, hiatus hernia, morgagni hernia, bochdalek hernia, diaphragmatic hernia
free_air || acute | free air, free intraperitoneal air, pneumoperitoneum, free subdiaphragmatic air, subdiaphragmatic free air, subdiaphragmatic air, intraperitoneal air, free intraabdominal air, free peritoneal air, intra abdominal free air, free intra abdominal air, free gas
pneumomediastinum || acute | pneumomediastinum, mediastinal air
subcutaneous_emphysema || | subcutaneous emphysema, subcutaneous air, subcutaneous gas, soft tissue emphysema, soft tissue gas, chest wall emphysema, soft tissue air
elsewhere || | extrathoracic abnormality
soft_tissue || | soft tissue abnormality, soft tissue swelling
foreign_body || | foreign body, radiopaque foreign body, metallic foreign body, bullet fragment, bullet, shrapnel, metallic fragment, ballistic fragment
cyst || | cyst, cystic change, cystic lucency
dilated_bowel || | dilated bowel, distended bowel, bowel distention, gaseous distention, dilated loop, bowel obstruction
lucency || | lucency, lucent area
markings_prominent | Lung Opacity | lung_abnormality | increased interstitial marking, prominent interstitial marking, coarsened interstitial marking, coarse interstitial marking, accentuated interstitial marking, increased lung marking, prominent lung marking, coarse lung marking, coarsened lung marking, interstitial marking prominence, increase in interstitial marking, increased bronchovascular marking, prominent bronchovascular marking, coarsened bronchovascular marking, coarse bronchovascular marking, prominent bronchial marking, prominence of the interstitial marking, prominence of interstitial marking, increased pulmonary marking, increased marking, prominent marking, coarse marking, coarsened marking, prominent pulmonary marking, coarse pulmonary marking, coarsening of the interstitial marking, accentuated marking, prominent perihilar marking, increased perihilar marking, chronic interstitial marking, chronic appearing interstitial marking, irregular interstitial marking, chronic appearing irregular interstitial marking, chronic irregular interstitial marking, chronic appearing right basilar interstitial marking
tube_malposition || | malposition, malpositioned, malpositioning
endotracheal_tube | Support Devices | tube | endotracheal tube, et tube, ett, endotracheal, intubated, intubation, nasotracheal tube
enteric_tube | Support Devices | tube | nasogastric tube, ng tube, ngt, orogastric tube, og tube, ogt, enteric tube, feeding tube, dobbhoff tube, dobhoff tube, dobbhoff, dobhoff, gastric tube, nasoenteric tube, gastrostomy tube, peg tube, enteric catheter, nasogastric, duodenal tube
central_line | Support Devices | line | central line, central venous catheter, central venous line, central catheter, venous catheter, central venous access catheter, cvc, cvl, catheter, vascular catheter, tunneled catheter, dual lumen catheter, double lumen catheter, large bore catheter, catheter tip, cordis, venous line, indwelling catheter
swan_ganz | Support Devices | central_line | swan ganz catheter, swan ganz, pa catheter, pulmonary artery catheter, pulmonary arterial catheter
dialysis_catheter | Support Devices | central_line | dialysis catheter, hemodialysis catheter, permcath, permacath
subclavian_line | Support Devices | central_line | subclavian catheter, subclavian line, subclavian central venous catheter, subclavian central line, subclavian central venous line
jugular_line | Support Devices | central_line | internal jugular catheter, ij catheter, internal jugular line, ij line, jugular catheter, jugular line, ij central line, ij central venous catheter, ij central venous line, internal jugular central venous catheter, internal jugular central venous line, internal jugular central line, jugular central venous catheter
picc | Support Devices | line | picc, picc line, picc catheter, peripherally inserted central catheter, peripherally inserted central venous catheter
port | Support Devices | line | port a cath, xxxx a xxxx, chest xxxx with tip, chest xxxx tip, chest xxxx catheter, chest xxxx is, portacath, port cath, portocath, mediport, chest port, port catheter, infusion port, porta cath, subcutaneous port, power port, powerport, implanted port, port, infusaport, chest wall port, injection port, venous port
chest_tube | Support Devices | tube | chest tube, pleural drain, thoracostomy tube, pleural catheter, pleural drainage catheter, pigtail catheter, thoracic tube, pleurx catheter, pleural tube, chest drain, drainage catheter, drain, mediastinal drain, mediastinal tube, pigtail
tracheostomy | Support Devices | tube | tracheostomy, tracheostomy tube, trach tube, tracheostomy cannula, tracheostomy device
pacemaker | Support Devices | device | pacemaker, pacer, pacing device, cardiac pacemaker, cardiac pacer, pacemaker lead, pacer lead, pacing lead, pacemaker device, cardiac pacing device, cardiac conduction device, cardiac device, pacer wire, pacemaker wire, pacing wire, biventricular pacemaker, biventricular pacer, dual chamber pacemaker, dual lead pacemaker, pulse generator, generator, ventricular lead, lead, pacing system, pacer device, pacer generator, pacemaker generator
defibrillator | Support Devices | pacemaker | icd, aicd, defibrillator, icd lead, aicd lead, defibrillator lead, cardiac defibrillator, pacemaker defibrillator, biventricular icd, automatic implantable cardiac defibrillator, implantable cardioverter defibrillator, defibrillator device, cardioverter defibrillator, aicd device, defibrillator generator
sternotomy | Support Devices | device | sternotomy wire, median sternotomy wire, sternal wire, sternotomy, median sternotomy, sternotomy suture, sternal suture, cerclage wire, midline sternotomy wire, sternal cerclage wire, sternal fixation wire, midline sternotomy, sternotomy suture wire, median sternotomy suture, median sternotomy suture wire
valve | Support Devices | device | valve replacement, prosthetic valve, valve prosthesis, mechanical valve, prosthetic heart valve, prosthetic aortic valve, prosthetic mitral valve, aortic valve replacement, mitral valve replacement, bioprosthetic valve, prosthetic cardiac valve, artificial valve, aortic valve prosthesis, mitral valve prosthesis, heart valve, cardiac valve, valvular prosthesis, valve ring, annuloplasty ring, annuloplasty, artificial heart valve, heart valve replacement, replacement valve, cardiac valve replacement, cardiac valve prosthesis
stent | Support Devices | device | stent, stent graft, aortic stent, coronary stent, endograft, coronary artery stent, aortic stent graft
clip | Support Devices | device | surgical clip, clip, vascular clip, cholecystectomy clip, metallic clip, staple, surgical staple, suture material, surgical material, surgical suture, suture, cabg clip, bypass graft, bypass clip, bypass graft marker, surgical wire, suture line, bypass graft clip, staple line, surgical coil, embolization coil
hardware | Support Devices | device | hardware, orthopedic hardware, spinal hardware, fusion hardware, surgical hardware, fixation hardware, fixation plate, plate and screw, screw, spinal rod, harrington rod, rod, prosthesis, arthroplasty, shoulder arthroplasty, prosthetic shoulder, prosthetic, shoulder prosthesis, shoulder replacement, anchor, suture anchor, orthopedic screw, anterior fusion, spinal fusion, fusion plate, orthopedic plate, metallic plate, fixation device, joint replacement, cervical fusion, cervical spinal fusion, fixation screw, anterior cervical fusion, hemiarthroplasty, spine fusion, fusion, pedicle screw, orthopedic fixation, fixation rod, internal fixation, plate
tube | Support Devices | device | tube, tubing, cannula
line | Support Devices | device | support line, vascular line, supporting line, line and tube, tube and line, vascular access device, central access, iv line
device | Support Devices | | support device, monitoring device, medical device, device, stimulator, nerve stimulator, spinal stimulator, support apparatus, apparatus, monitoring lead, ekg lead, ecg lead, monitor lead, balloon pump, intra aortic balloon pump, iabp, lvad, left ventricular assist device, implant, surgical device, loop recorder, ivc filter, ivc xxxx, filter, cardiac monitor lead, external cardiac monitor lead, cardiac xxxx generator, dual xxxx cardiac, neurostimulator, external device, implanted device, spinal stimulator lead, vagal nerve stimulator, stimulator lead, stimulator device, dorsal column stimulator, ventriculoperitoneal shunt, vp shunt, shunt catheter, shunt, shunt tubing, electronic device, lap band, gastric band, postsurgical device, implanted medical device, event recorder, breast implant, monitoring wire, supporting apparatus, tissue expander, neurostimulator lead, infusion pump
"""

PLAIN_LABEL = "+"
"""A phrase that ends in it also counts as Lung Opacity."""

ANATOMY = """
# id | region that a general statement on it covers | phrases
heart | cardiomegaly | heart, heart size, cardiac size, cardiac silhouette, cardiac shadow, cardiac contour, heart shadow, heart silhouette, cardiac, cor, heart contour, cardiopericardial silhouette, cardiac silhouette size, size of the heart, size of the cardiac silhouette, transverse heart size, heart and size, cardiac and pericardial silhouette, cardiac border, heart border, pericardial silhouette, overall heart size, transverse cardiac diameter, transverse diameter of the heart, cardiac outline, heart diameter, cardiothoracic ratio
ventricle || ventricle, left ventricle, cardiac chamber, cardiac apex, left ventricular contour, left ventricular, ventricular
cardiomediastinum | cardiomediastinal_enlargement | cardiomediastinal silhouette, cardiomediastinum, cardiomediastinal contour, cardio mediastinal silhouette, cardiomediastinal, cardiomediastinal shadow, cardiac and mediastinal silhouette, cardiac and mediastinal contour, heart and mediastinum, heart and mediastinal contour, heart and mediastinal silhouette, cardiac mediastinal silhouette, cardiac mediastinal contour, cardiac silhouette and mediastinum, cardiac silhouette and mediastinal contour, cardio mediastinal contour, cardiomediastinal structure, cardiomediastinal size, cardiomediastinal margin, cardiac contour and mediastinum, heart and mediastinal structure, mediastinal and cardiac contour, mediastinal and cardiac silhouette, cardiomediastinal outline, mediastinum and cardiac silhouette, mediastinum and heart, cardiac silhouette and mediastinum size, cardiac and mediastinal, heart mediastinum
mediastinum | mediastinal_widening | mediastinum, mediastinal contour, mediastinal silhouette, mediastinal width, superior mediastinum, upper mediastinum, mediastinal, mediastinal structure, mediastinal size, mediastinal configuration, mediastinal border, mediastinal shadow, mediastinum size, mediastinal contour and size, mediastinal outline, mediastinal interface, mediastinal margin, middle mediastinum, paratracheal stripe
hilum | adenopathy | hilum, hilar contour, hilar, hilar region, hilar structure, hilar shadow, perihilar, suprahilar, infrahilar, perihilar region, suprahilar region, infrahilar region, parahilar, hilar silhouette, pulmonary hilum
vasculature | congestion | pulmonary vasculature, pulmonary vascularity, pulmonary vessel, vasculature, vascularity, pulmonary vascular, vascular, pulmonary vascular marking, vascular marking, pulmonary venous, pulmonary vascular pattern, vascular pattern, bronchovascular, bronchovascular marking, pulmonary arterial, vessel, pulmonary vein, bronchovascular structure, central vasculature, central vessel, vascular structure, central pulmonary vasculature, central pulmonary vessel, pulmonary circulation
pulmonary_artery || pulmonary artery, main pulmonary artery, central pulmonary artery
markings | interstitial | interstitial marking, interstitium, lung marking, pulmonary marking, marking, interstitial lung marking, pulmonary interstitium, interstitial pulmonary marking, interstitial, peribronchial, interstitial structure, perihilar marking
lung_volume | low_volumes | lung volume, inspiration, inspiratory effort, lung inflation, inflation, pulmonary volume, inspiratory volume
lung | lung_abnormality | lung, lung field, lung parenchyma, pulmonary parenchyma, pulmonary, lung zone, parenchyma, parenchymal, lung tissue, hemithorax, remaining lung, lung space, pulmonary aeration, aeration, lung and pleural space
chest | any | chest, thorax, chest radiograph, chest x ray, chest xxxx, chest film, chest exam, chest examination, cardiopulmonary, radiograph of the chest
upper_lung | lung_abnormality | upper lobe, upper lung, upper lung zone, upper lung field, upper zone, apex, apical, lung apex, apical region, upper hemithorax, apicolateral, pulmonary apex, biapical, rul, lul
mid_lung | lung_abnormality | mid lung, mid lung zone, mid lung field, middle lung, midlung, midlung zone, mid zone, middle lobe, midzone, mid lung region, rml, midlung field
lower_lung | lung_abnormality | lower lobe, lower lung, lower lung zone, lower lung field, lower zone, base, basilar, basal, lung base, bibasilar, bibasal, basilar region, lower hemithorax, posterior base, infrahilar lung, rll, lll, pulmonary base, bases posteriorly, basilar lung, costophrenic region
lingula | lung_abnormality | lingula, lingular
retrocardiac | lung_abnormality | retrocardiac, retrocardiac region, retrocardiac area, retrocardiac space, retrosternal, retrosternal airspace, retrosternal clear space, retrosternal space, retrocardiac clear space
pleura | pleural_abnormality | pleura, pleural, pleural space, pleural surface, pleural cavity, pleural margin, pleural reflection
fissure | pleural_abnormality | fissure, minor fissure, major fissure, horizontal fissure, oblique fissure, interlobar fissure
costophrenic | blunted_angle | costophrenic, costophrenic xxxx, costophrenic angle, costophrenic sulcus, cp angle, costophrenic recess, costophrenic gutter, sulcus, cardiophrenic angle, posterior sulcus, cardiophrenic sulcus, posterior costophrenic angle, posterior costophrenic sulcus, lateral costophrenic angle, lateral costophrenic sulcus
diaphragm | elevated_hemidiaphragm | diaphragm, hemidiaphragm, diaphragmatic, diaphragmatic contour, diaphragm contour, diaphragmatic border
aorta | tortuous_aorta | aorta, aortic, aortic arch, aortic knob, thoracic aorta, aortic contour, descending aorta, descending thoracic aorta, ascending aorta, aortic knuckle, aortic root, arch of the aorta, arch, aortic silhouette, knob
trachea || trachea, tracheal, airway, tracheobronchial tree, carina, central airway, trachea and bronchus, bronchus, bronchial, mainstem bronchus, main bronchus
svc || svc, superior vena cava, vena cava
svc_lower || lower svc, distal svc, low svc, lower superior vena cava, distal superior vena cava
svc_mid || mid svc, mid superior vena cava
svc_upper || upper svc, proximal svc, high svc, upper superior vena cava, proximal superior vena cava
cavoatrial || cavoatrial junction
atrium || right atrium, atrium, atrial
right_ventricle || right ventricle
jugular_vein || internal jugular vein, jugular vein
brachiocephalic_vein || brachiocephalic vein, innominate vein
subclavian_vein || subclavian vein
vein || axillary vein, coronary sinus, azygos vein
bone | bone_abnormality | osseous structure, bony structure, bone, osseous, bony, skeleton, skeletal, skeletal structure, bony thorax, bony thoracic cage, thoracic cage, rib cage, bony skeleton, visualized skeleton, bony elements, osseous thorax, osseous, thoracic skeleton, skeletal system, bony framework, bony element, regional skeleton, osseous element, osteology, bony chest
rib | fracture | rib
spine | bone_abnormality | spine, thoracic spine, vertebra, vertebral body, thoracic vertebra, lumbar spine, cervical spine, vertebral, spinal, disc space, disk space, endplate, dorsal spine, t spine, thoracolumbar spine, intervertebral disc space, vertebral body height, thoracic vertebral body, vertebral column, midthoracic spine, mid thoracic spine, vertebral height, l spine, c spine, lower thoracic spine, upper thoracic spine, spinal column, disc, intervertebral disc, thoracic and lumbar spine
shoulder || shoulder, clavicle, humerus, humeral, humeral head, ac joint, acromioclavicular joint, glenohumeral joint, acromioclavicular, glenohumeral, scapula, sternum, sternal, clavicular, manubrium
soft_tissue | soft_tissue | soft tissue, chest wall, soft tissue of the chest, soft tissue structure, subcutaneous soft tissue
abdomen || abdomen, upper abdomen, stomach, bowel, abdominal, gastric body, left upper quadrant, right upper quadrant, gastric bubble, stomach bubble, bowel gas pattern, bowel gas, esophagus, gastric, colon, liver, spleen, gallbladder, subdiaphragmatic, upper quadrant, gas pattern, gastroesophageal junction, ge junction, duodenum
breast || breast, axilla, axillary, neck, nipple, nipple shadow, breast shadow, breast tissue
lymph_node | adenopathy | lymph node, lymph, lymph xxxx, node, nodal
study | any | study, examination, exam, radiograph, x ray, xray, view, film, chest radiography, comparison, image, technique
"""

BONES = frozenset({"bone", "rib", "spine", "shoulder"})

STATES = """
# state | words
normal | normal, upper limit of normal, at the upper limit of normal, at upper limit of normal, upper limit normal, upper normal, top normal, near top normal, top normal in size, near the upper limit of normal, near upper limit of normal, on the upper limit of normal, upper limit of normal in size, upper limit of normal size, high normal, borderline normal, prominent but within normal limit, upper normal limit, top limit of normal, top normal limit, upper range of normal, upper limit of normal for size, limit of normal, within limit of normal, upper limits for size, at upper limit normal, within normal limit, unremarkable, clear, intact, sharp, unchanged and normal, normal limit, preserved, well preserved, maintained, well maintained, wnl, not enlarged, nonenlarged, well expanded, well aerated, well inflated, within limit, normally inflated, normally expanded, normal in size, of normal size, normal size, normal in caliber, not widened, not dilated, midline, grossly clear, symmetric, symmetrical, free of disease, patent, well visualized, not engorged, not congested, well defined, normal in appearance, normal appearing, adequate, satisfactory, in size, normally aerated, expanded and clear, adequately inflated, adequately expanded, well ventilated, non enlarged, not prominent, well delineated, aligned, anatomic alignment, not elevated, not blunted, not displaced, normally positioned
enlarged | enlarged, enlargement, large, dilated, dilatation, dilation, enlarge, big, increased in size, increase in size, generous, megaly, abnormally enlarged, enlarging, globular, globular in configuration, above normal, increased in transverse diameter, hypertrophy, mildly prominent in size, prominent in size, above normal limit, greater than normal, larger than normal, bigger than normal
upper_normal | borderline, borderline enlarged, borderline in size, borderline large, borderline size, borderline prominent, borderline enlargement, mildly large, slightly large, normal to mildly enlarged, normal to borderline
prominent | prominent, prominence, fullness, full, accentuated, increased, coarse, coarsened, thickened, increase, thickening, accentuation, exaggerated, bulging, bulky, distended
widened | widened, widening, wide, wider than normal
tortuous | tortuous, tortuosity, unfolded, unfolding, ectatic, ectasia, uncoiled, elongated, uncoiling, torturous, tortous, aneurysmal, tortuousity
calcified | calcified, calcification, calcific, atherosclerotic calcification
low | low, reduced, diminished, decreased, poor, shallow, small, suboptimal, limited
high | hyperexpanded, hyperinflated
elevated | elevated, elevation, raised, high riding, higher, eventrated
flattened | flattened, flattening, flat
blunted | blunted, blunting, obscured, obliterated, effaced, obscuration, indistinct, blunt, obliteration, effacement, blurred, blurring, obscuring, ill defined
opacified | opacified, whited out
engorged | engorged, engorgement, congested, cephalized, redistributed, plethoric, indistinctness
shifted | shifted, deviated, displaced, shift, deviation
fractured | fractured, broken
degenerated | degeneration
"""

ABNORMAL_STATES = """
# anatomy | state = finding
heart | enlarged=cardiomegaly upper_normal=cardiomegaly prominent=cardiomegaly widened=cardiomegaly
cardiomediastinum | enlarged=cardiomegaly upper_normal=cardiomegaly prominent=cardiomegaly widened=mediastinal_widening shifted=mediastinal_shift
mediastinum | enlarged=mediastinal_widening widened=mediastinal_widening prominent=mediastinal_widening shifted=mediastinal_shift
hilum | enlarged=adenopathy prominent=adenopathy calcified=calcified_node
lymph_node | enlarged=adenopathy prominent=adenopathy calcified=calcified_node
vasculature | engorged=congestion prominent=congestion enlarged=congestion blunted=congestion calcified=aortic_calcification
pulmonary_artery | enlarged=pulmonary_artery prominent=pulmonary_artery
markings | prominent=markings_prominent
lung_volume | low=low_volumes enlarged=hyperinflation prominent=hyperinflation high=hyperinflation
costophrenic | blunted=blunted_angle opacified=blunted_angle
lung | opacified=opacity
upper_lung | opacified=opacity
mid_lung | opacified=opacity
lower_lung | opacified=opacity
retrocardiac | opacified=opacity
diaphragm | elevated=elevated_hemidiaphragm flattened=hyperinflation
aorta | tortuous=tortuous_aorta calcified=aortic_calcification enlarged=tortuous_aorta prominent=tortuous_aorta
rib | fractured=fracture
bone | fractured=fracture
shoulder | fractured=fracture
pleura | prominent=pleural_thickening calcified=pleural_thickening
fissure | prominent=pleural_thickening
"""

QUALIFIERS = """
# kind:value | phrases
side:left | left, lll, lul, left sided, leftward, left side, lt
side:right | right, rll, rul, rml, right sided, rightward, right side, rt
side:bilateral | bilateral, bilaterally, both, bibasilar, bibasal, biapical, both sides, right greater than left, left greater than right, right worse than left, left worse than right, right more than left, left more than right
grade:1 | tiny, trace, minimal, minimally, minor, minute, very small, slight, slightly, subtle, faint, small, mild, mildly, smaller, trace amount, mild to minimal, minimal to mild, tiny amount, small amount, small volume, borderline
grade:2 | moderate, moderately, moderate sized, mild to moderate, small to moderate, mildly to moderately, medium sized
grade:3 | large, severe, severely, marked, markedly, massive, massively, sizable, sizeable, substantial, extensive, florid, moderate to large, moderate to severe, pronounced, very large, gross, grossly, significant, prominent, moderately severe, huge, complete, total, near complete, near total
change:same | unchanged, no significant change in, no interval change in, no change in, no appreciable change in, no significant interval change in, no substantial change in, no new change, stable, similar, no significant change, no interval change, no appreciable change, no change, persistent, persisting, not significantly changed, without significant change, without change, again, again seen, again noted, not changed, redemonstrated, no significant interval change, without significant interval change, constant, similar to prior, stably, grossly unchanged, no substantial change, re demonstrated, persists, persist, re demonstration, redemonstration, no interim change, chronic, longstanding, no change in, without interval change, unaltered
change:worse | increased, worsened, worsening, progressed, progression, increasing, larger, greater, worse, increase, enlarging, more prominent, more conspicuous, interval increase, interval worsening, interval enlargement, more extensive
change:better | decreased, improved, diminished, decreasing, improving, improvement, decrease, reduction, less, resolving, partially resolved, partial resolution, near complete resolution, near complete resolution of, near resolution of, partial resolution of, incomplete resolution of, interval improvement, interval decrease, smaller than, clearing, improved aeration, less prominent, less conspicuous, nearly resolved, near resolution, almost resolved, reduced, partial clearing, incompletely resolved, nearly completely resolved, resolved partially
change:new | new, newly, interval development, interval placement, interval appearance, newly placed, developed, has developed, appeared, has appeared, interval insertion, development, developing, interval development of
kind:linear | linear, plate like, platelike, bandlike, band like, discoid, streaky, strand like, stranding, strandlike, bandlike
kind:subsegmental | subsegmental, segmental
kind:patchy | patchy, hazy, ill defined, fluffy, vague, confluent, amorphous
kind:multifocal | multifocal, multiple, scattered, several, numerous, diffuse, diffusely, widespread, generalized
kind:focal | focal, dense, lobar, discrete, localized
kind:loculated | loculated, multiloculated
kind:layering | layering
kind:tension | tension
kind:compressive | compressive
kind:displaced | displaced
kind:nondisplaced | nondisplaced, non displaced, minimally displaced
kind:healed | healed, healing, remote, chronic, old
kind:acute | acute
kind:interstitial | interstitial
kind:apical | apicolateral
kind:round | rounded, round
kind:defined | well defined, well circumscribed
kind:lobulated | lobulated
kind:spiculated | spiculated
kind:noncalcified | noncalcified, non calcified
kind:calcified | calcified
"""

ORGANS = (
    "liver", "hepatic", "renal", "kidney", "adrenal", "splenic", "pancreatic", "thyroid", "breast", "abdominal",
    "brain", "cerebral", "colon", "colonic", "gastric", "esophageal", "ovarian", "uterine", "prostate", "bladder",
    "skin", "respiratory", "ventilatory", "multiorgan", "urinary tract",
)  # fmt: skip
LESIONS = (
    "mass", "nodule", "lesion", "tumor", "cancer", "carcinoma", "malignancy", "neoplasm", "metastasis", "abscess",
    "infection", "failure", "cyst", "collapse", "edema", "hemorrhage", "calcification",
)  # fmt: skip
"""An organ and a lesion make a finding outside the chest: "renal failure" is no heart failure."""

TRIVIAL = frozenset({"focal", "acute"})
"""Kinds that say nothing where a finding is denied: "no focal consolidation" is "no consolidation"."""

TRIGGERS = """
# kind | phrases; ">" reaches forward, "<" backward; * marks those that also reach over a verb
neg> | no, not, without, no evidence of, no evidence for, without evidence of, free of, clear of, grossly clear of, essentially clear of, are clear bilaterally of, resolved, absence of, negative for, no sign of, no signs of, no suggestion of, no indication of, no radiographic evidence of, no definite evidence of, no convincing evidence of, resolution of, interval resolution of, complete resolution of, clearing of, removal of, interval removal of, no longer, denies, none, nor, neither, rather than, instead of, no findings of, no finding of, no findings to suggest, no finding to suggest, no evidence to suggest, nothing to suggest, no xxxx of, lack of, lacks, never, no plain film evidence of, excludes, no specific evidence of, unaccompanied by, ruling out, interval extubation, extubated, extubation, cannot be identified
neg< | removal, none, resolved, cleared, absent, not seen, not identified, not present, not visualized, not evident, not demonstrated, not appreciated, not detected, not apparent, not noted, no longer seen, no longer present, no longer visualized, no longer identified, no longer evident, no longer in place, no longer appreciated, ruled out, excluded, removed, withdrawn, negative, not visible, none seen, not visualised, not definitely seen, not clearly seen, is gone, not suspected, not found, disappeared, no longer visible, no longer noted, no longer demonstrated, not well seen, not clearly identified, not definitely identified, has cleared, completely resolved, not definitely visualized, nonvisualized, no longer apparent, been pulled, discontinued, extubated, not currently seen, not observed, not clearly visualized
unc> | if any, may represent, may reflect, may be, may indicate, may suggest, may relate to, may be related to, may be due to, may be secondary to, might represent, might be, might reflect, could represent, could reflect, could be, could indicate, could be due to, can represent, can be seen with, possible, possibly, probable, probably, likely, most likely, likely represent, likely represents, likely reflect, likely reflects, likely representing, likely due to, likely related to, suspicious for, suspicious of, suspected, suspect, suspicion for, suspicion of, suggest, suggesting, suggestion of, suggestive of, concerning for, concern for, concern of, worrisome for, worrisome of, questionable, question, question of, question for, equivocal, cannot exclude, can not exclude, cannot rule out, can not rule out, not exclude, difficult to exclude, versus, vs, potentially, potential, presumably, presumed, presumptive, perhaps, apparent, appearance of, raises concern for, raise concern for, raises the possibility of, raise the possibility of, possibility of, raising the possibility of, raising concern for, may, might, could, differential includes, differential consideration include, differential diagnosis includes, considerations include, favored to represent, favor, favored, favoring, favors, thought to represent, felt to represent, believed to represent, likely to represent, less likely, unlikely, worry for, if not, unable to exclude, not entirely exclude, cannot entirely exclude, cannot completely exclude, cannot be differentiated from, difficult to differentiate from, would be difficult to exclude, cannot definitively exclude, not excluding, representing either, either, possible early, borderline for, as well as possible, or possibly, potentially representing, possibly representing, suggests, maybe, questioned, in the differential, or possible, and or, may be seen with, less likely to represent, more likely, not exclude the possibility of, indeterminate for, seems to represent, appears to represent, seem to represent, appear to represent
unc< | cannot be excluded, can not be excluded, cannot be entirely excluded, cannot be completely excluded, cannot entirely be excluded, not excluded, not entirely excluded, difficult to exclude, is difficult to exclude, cannot be ruled out, can not be ruled out, cannot be entirely ruled out, not ruled out, is possible, are possible, is suspected, are suspected, is questioned, is not excluded, is a consideration, is considered, possible, is probable, is likely, also possible, would be possible, should be considered, may be considered, in the differential, must be considered, could be considered, considered, suspected, questioned, is less likely, is unlikely, are less likely, less likely, unlikely, cannot be fully excluded, cannot be definitively excluded, is thought likely, may be present, could be present, might be present, may also be present, cannot be completely ruled out, could have this appearance, could have a similar appearance, may have this appearance, would be difficult to exclude, difficult to completely exclude, difficult to entirely exclude, not definitely excluded, not completely excluded, cannot be confirmed, may be contributing, not included
hyp> | treatment of, mimic, mimics, mimicking, simulate, simulates, simulating, may mimic, can mimic, could mimic, may simulate, can simulate, could simulate, which showed, which demonstrated, which revealed, that showed, that demonstrated, that revealed, previously showed, previously demonstrated, had shown, in this patient with, in patient with, in the patient with, in a patient with, patient with, rule out, r o, ruleout, evaluate for, evaluation for, evaluation of, assess for, to exclude, to assess, to evaluate, to rule out, to confirm, history of, hx of, history, prior history of, known history of, h o, recommend, recommended, recommendation, consider, consideration of, if there is concern for, if concern for, if there is clinical concern for, if there is clinical suspicion of, if there is clinical suspicion for, clinical suspicion of, clinical suspicion for, clinical concern for, if clinically, if there is persistent, if there is, for evaluation of, for evaluation, please, indication, evaluate, to document, to ensure, follow up, followup, if clinical suspicion for, in the absence of, screening for, monitor for, obscure, obscures, decreases sensitivity for, limits evaluation of, limits evaluation for, limit evaluation of, limits assessment of, limits assessment for, limits detection of, limit detection of, risk of, risk for, exclude, if, concern clinically for, to further evaluate, sensitivity for, sensitivity to, question is, clinical history of, to ascertain, to better evaluate, better evaluate, better assessed, correlate for, correlation for, suspect clinically, attention to, level of clinical concern, treatment for, treated for, detection of, workup for
hyp< | is recommended, are recommended, recommended, is suggested, is advised, advised, would be helpful, may be helpful, could be helpful, may be obtained, can be obtained, could be obtained, is warranted, may be warranted, is not well evaluated, is limited, could be considered, not well evaluated, is not evaluated, cannot be evaluated, was performed, cannot be assessed, suboptimally evaluated
cancel | not excluded by
pseudo | no doubt, no doubt that, without doubt, without a doubt, without question, no question that, no significant change in, no interval change in, no change in, no appreciable change in, no change, no significant interval change, no significant interval change in, no significant change, no interval change, no appreciable change, without change, without significant change, without interval change, without significant interval change, not significantly changed, not changed, no substantial change, no substantial change in, no increase, no increase in, no significant increase in, not substantially changed, no substantial interval change, not only, no interim change, not necessarily, not much changed, no improvement, no improvement in, no decrease in, no decrease, not improved, no progression of, no interval progression of, no worsening of, no real change, not well defined, not appreciably changed, gram negative, no new change, not increased, no change from, no significant change from, partially resolved, nearly resolved, almost resolved, incompletely resolved, nearly completely resolved, almost completely resolved, near complete resolution of, near complete resolution, partial resolution of, partial resolution, near resolution of, not resolved, not completely resolved, not cleared, partially cleared, incomplete resolution of, resolving, clearing, no interval worsening of, not included, no difference
stop | but, however, although, though, except, except for, apart from, aside from, other than, yet, while, whereas, otherwise, nevertheless, which, because, since, besides, still, nonetheless, otherwise, with the exception of, with exception of, in the setting of, elsewhere, on a background of, in addition to, in addition, where, given, despite, remainder
after | following, after, status post, s / p
cause | secondary to, due to, related to, consistent with, compatible with, in keeping with, representing, reflecting, attributable to, attributed to, represent, reflect, represents, reflects, associated with, indicating, indicate
"""

CLOSERS = bag(
    "see identify note present detect demonstrate visualize evident appreciate apparent visible suspect find "
    "observe seen identified noted detected demonstrated visualized appreciated found observed suspected is are"
)
"""Words that may close a list without saying anything new of its members: "no effusion or pneumothorax is seen"."""

VERBS = bag(
    "is are was were has have had remain remains remained appear appears appeared demonstrate demonstrates show shows "
    "lie lies project projects terminate terminates end ends measure measures suggest suggests persist persists "
    "overlie overlies obscure obscures layer layers contain contains course courses reveal reveals "
    "pass passes extend extends occupy occupies involve involves"
)
